#!/usr/bin/env python3
"""A load scenario.

The same as `npm run lab -- load`, with the same flags and variables; --help lists them.
"""
import os
import sys

root = os.path.dirname(os.path.realpath(__file__))
os.execvp("sh", ["sh", os.path.join(root, "scripts", "lab.sh"), *["load"], *sys.argv[1:]])
