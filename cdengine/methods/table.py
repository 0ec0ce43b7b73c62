"""The training-free methods by the names that users give. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from cdengine.methods.cva import ChangeVectorAnalysis
from cdengine.methods.irmad import IRMAD
from cdengine.methods.log_ratio import LogRatio
from cdengine.methods.pca_kmeans import PCAKMeans
from cdengine.methods.sfa import SlowFeatureAnalysis
from cdengine.methods.statistic import StatisticDetector

METHODS: dict[str, Callable[[], StatisticDetector]] = {
    "cva": ChangeVectorAnalysis,
    "irmad": IRMAD,
    "pca-kmeans": PCAKMeans,
    "sfa": SlowFeatureAnalysis,
    "log-ratio": LogRatio,
}
