# What a developer types. `just` alone lists it.

[private]
default:
    @just --list

# Make the virtual environment with everything in it
setup:
    uv sync

# Format and mend what can be mended by itself
fmt:
    uv run ruff format .
    uv run ruff check --fix .

# Style, layering, undeclared dependencies
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run lint-imports
    uv run python deploy/check_dependencies.py

# Type checking
types:
    uv run mypy libs/*/src services/*/src

# All tests (some skip without programs from Debian)
test *arguments:
    uv run pytest {{arguments}}

# The tests of the whole product only
e2e:
    uv run pytest -m e2e tests

# The main job on this machine, with simulated cameras
demo *arguments:
    uv run understudy demo {{arguments}}

# One benchmark, for example: just bench recorder --cameras 90
bench name *arguments:
    uv run benchmarks/{{name}}.py {{arguments}}

# The control plane and one recording server in containers
up:
    docker compose --profile recording-server up --build --detach

# End them; data stays in the volumes
down:
    docker compose --profile recording-server down

# Write the generated pages under docs/ anew
docs:
    uv run python docs/generate.py
