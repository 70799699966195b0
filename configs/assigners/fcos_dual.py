"""FCOS's centre sampling under dual weighting: what DW's weights alone bring."""

assigner = {"matching": "center_sampling", "weighting": "dual", "score": "sigmoid_objectness"}
