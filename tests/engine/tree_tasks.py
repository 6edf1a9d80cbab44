"""A tree that is a function of its paths, for the tests of the tree search: in a module that a worker imports fast."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

LEAF, OPEN = 0xFFFF, 0xFFFD


@dataclass(frozen=True)
class HashedTree:
    """A node is a leaf by the hash of its path. Parameters make tasks end in all the ways there are."""

    seed: int = 0
    leaf_share: float = 0.45
    max_depth: int = 40
    refuted_by: int = -1  # a remainder modulo 1000 of the hash
    too_deep: int = -1
    keep_leaves: bool = True
    sleep: float = 0.0
    kill_folder: Path | None = None
    kill_at: int = 0

    def mark(self, path):
        return crc32(bytes(np.array([self.seed, *path], dtype=np.uint16)))

    def code(self, path):
        """The node's code."""
        if len(path) // 2 >= self.max_depth:
            return LEAF
        mark = self.mark(path)
        return LEAF if mark % 1009 < self.leaf_share * 1009 else mark % 701

    def row(self, path):
        mark = self.mark(path)
        return [mark % 251, (mark >> 8) % 251]

    def __call__(self, share):
        stack = [tuple(int(p) for p in path) for path in reversed(share.paths)]
        codes, rows, work, best, point, deepest, status = [], [], 0, -np.inf, np.zeros(2), 0, 0
        time.sleep(self.sleep)
        while stack and status == 0:
            path = stack[-1]
            mark = self.mark(path)
            self._perhaps_die(mark)
            work += 1 + mark % 7
            deepest = max(deepest, len(path) // 2)
            if mark % 100_000 > best:
                best, point = mark % 100_000, np.array([mark % 13, mark % 17], dtype=float)
            status = 2 if mark % 1000 == self.refuted_by else 3 if mark % 1000 == self.too_deep else 0
            if status:
                best, point = (1e9 + mark % 1000, np.array(path[:2], dtype=float)) if status == 2 else (best, point)
                break
            stack.pop()
            codes.append(self.code(path))
            if codes[-1] == LEAF:
                rows.append(self.row(path))
            else:
                stack.extend((*path, codes[-1], which) for which in (1, 0))
            if stack and (work >= share.max_work or len(codes) >= share.max_nodes):
                status = 1
        rows = rows if self.keep_leaves else []
        left = [np.array(path, dtype=np.uint16) for path in reversed(stack)]
        nodes = np.array(codes + [OPEN] * len(left), dtype=np.uint16)
        leaves = np.array(rows, dtype=np.uint8).reshape(-1, 2)
        duals = np.arange(len(rows) * 3, dtype=float).reshape(-1, 3) * 0 + leaves[:, :1]
        return status, nodes, left, work, len(codes), float(best), point, deepest, leaves, duals

    def _perhaps_die(self, mark):
        if self.kill_folder is None or mark % 97 != self.kill_at:
            return
        try:
            os.close(os.open(self.kill_folder / "died", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os._exit(1)


def whole(tree, roots):
    """The complete stream and leaf rows, by recursion."""
    codes, rows = [], []

    def go(path):
        codes.append(code := tree.code(path))
        if code == LEAF:
            rows.append(tree.row(path))
        else:
            go((*path, code, 0))
            go((*path, code, 1))

    for root in roots:
        go((root,))
    return np.array(codes, dtype=np.uint16), np.array(rows, dtype=np.uint8).reshape(-1, 2)
