"""Iteratively reweighted multivariate alteration detection (IR-MAD)."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri

from cdengine.methods.linear import VariateDetector
from cdengine.methods.reweight import Solver, Variates, WeightedMoments, whitening

# Canonical variates of the unchanged pixels that agree to 1e-3 standard deviations count as equal: a pair that is
# identical but for the changes would have 0 here, and any rounding would be a change.
_LEAST_VARIANCE = 1e-6
_CHANCE = 0.01  # no threshold below what 1 % of unchanged pixels exceed by chance


class IRMAD(VariateDetector):
    """s = √Z, Z = Σ (MADᵢ / σᵢ)², over the pairs of canonical variates, σᵢ² = 2 (1 − ρᵢ).

    MADᵢ = aᵢᵀ x − bᵢᵀ y are differences of the linear combinations of the two dates' bands that correlate most over
    the unchanged pixels, so that neither gains and offsets of bands nor any other invertible linear map of one
    date's bands changes the result. The dates may have different bands and different numbers of them.

    Source: Nielsen, Conradsen and Simpson 1998 (MAD); Nielsen 2007 (iterative reweighting).
    """

    name = "irmad"
    indicator = "canonical_correlations"

    def _eigenproblem(self, bands: int, first: WeightedMoments) -> Solver:
        basis_before = whitening(first.covariance[:bands, :bands], drop=True)
        basis_after = whitening(first.covariance[bands:, bands:], drop=True)

        def solve(moments: WeightedMoments) -> Variates:
            # Canonical correlations as singular values of the whitened cross-covariance: the same as the
            # generalised eigenproblem S12 S22⁻¹ S21 a = ρ² S11 a, but exact for ρ close to 1.
            covariance = moments.covariance
            before = basis_before @ whitening(basis_before.T @ covariance[:bands, :bands] @ basis_before, drop=False)
            after = basis_after @ whitening(basis_after.T @ covariance[bands:, bands:] @ basis_after, drop=False)
            left, correlations, right = np.linalg.svd(
                before.T @ covariance[:bands, bands:] @ after, full_matrices=False
            )
            correlations = np.minimum(correlations, 1.0)
            sigma = np.sqrt(np.maximum(2 * (1 - correlations), _LEAST_VARIANCE))
            matrix = np.hstack([(before @ left).T, -(after @ right.T).T]) / sigma[:, None]
            return Variates(matrix, -matrix @ moments.mean, correlations)

        return solve

    def _least_cut(self, variates: int) -> float:
        return float(np.sqrt(chdtri(variates, _CHANCE))) if variates else 0.0
