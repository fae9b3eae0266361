"""Simulated cameras: real RTSP, real H.264, each frame marked with camera, number and capture time."""

from understudy_lab.cameras.camera import FAULTS, Camera, Fault
from understudy_lab.cameras.clip import ClipSettings
from understudy_lab.cameras.digest import Login
from understudy_lab.cameras.simulator import SimulatedCameras, camera_ids

__all__ = ["FAULTS", "Camera", "ClipSettings", "Fault", "Login", "SimulatedCameras", "camera_ids"]
