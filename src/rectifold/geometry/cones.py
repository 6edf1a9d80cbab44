"""Projection on the cones of activation patterns, for many patterns at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
class ConeProjector:
    def __init__(self, X, patterns): 
        self.X=X; self.patterns=patterns; self.A=np.where(patterns,1.,-1.)
    def price(self, theta, threshold):
        from scipy.optimize import nnls
        C=(self.patterns*theta)@self.X
        out=np.zeros((2,len(C)))
        for k,s in enumerate((1,-1)):
            for b,c in enumerate(C):
                nrm=np.linalg.norm(c)
                if nrm<=threshold: out[k,b]=nrm; continue
                M=(self.X*self.A[b][:,None]).T
                out[k,b]=nnls(M,-s*c)[1]
        return out
