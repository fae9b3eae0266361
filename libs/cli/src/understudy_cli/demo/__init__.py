"""`understudy demo`: the main job on real streams, measured."""
