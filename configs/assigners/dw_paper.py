"""DW in the paper's form: equal exponents, IoU^5, fixed end points (arXiv 2203.09730, equations 6 to 13)."""

assigner = {"type": "dw", "form": "paper"}
