"""The Processing algorithms: parameters in, engine command line out, events back to the feedback panel."""
