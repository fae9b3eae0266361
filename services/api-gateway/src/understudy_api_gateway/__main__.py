"""`python -m understudy_api_gateway`."""

import sys

from understudy_runtime.process import run_service

from understudy_api_gateway.app import main
from understudy_api_gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(run_service("api-gateway", GatewaySettings, main))
