"""Login, roles, headers, bad input: nothing is open by accident, nothing answers 5xx."""

import asyncio
import json

import httpx
import pytest
from gateway_in_tests import ADMINISTRATOR, running_gateway
from understudy_contracts.model import UserRole

WITHOUT_LOGIN = {("POST", "/api/v1/session"), ("POST", "/api/v1/join")}
FOR_ADMINISTRATORS_TO_READ = {"/api/v1/users", "/api/v1/audit"}
FOR_OPERATORS = {
    "/api/v1/cameras/{camera_id}/snapshots",
    "/api/v1/cameras/{camera_id}/events",
    "/api/v1/servers/{server_id}/failover",
    "/api/v1/servers/{server_id}/maintenance",
    "/api/v1/failovers/{failover_id}/stop",
    "/api/v1/failovers/{failover_id}/stop-restoration",
}

FOR_VIEWERS = {"/api/v1/cameras/{camera_id}/ticket", "/api/v1/cameras/{camera_id}/direct"}


def filled(path):
    return (
        path.replace("{failover_id}", "f-1")
        .replace("{server_id}", "nobody")
        .replace("{camera_id}", "nobody")
        .replace("{username}", "nobody")
    )


@pytest.fixture
async def operations(gateway):
    schema = (await gateway.http.get("/api/v1/openapi.json")).json()
    found = [
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method in methods
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    assert len(found) > 35
    return found


async def caller_with(gateway, admin, role):
    body = {"username": f"the-{role}", "password": "long enough 1", "role": role}
    await admin.call("POST", "/users", json=body, expect=201)
    return await gateway.log_in(f"the-{role}", "long enough 1")


async def test_every_operation_wants_a_login_of_the_right_role(gateway, admin, operations):
    viewer = await caller_with(gateway, admin, "viewer")
    operator = await caller_with(gateway, admin, "operator")
    for method, path in operations:
        if (method, path) in WITHOUT_LOGIN or (method, path) == ("DELETE", "/api/v1/session"):
            continue
        url = filled(path)
        anonymous = await gateway.http.request(method, url)
        assert anonymous.status_code == 401, (method, path)
        assert anonymous.headers["content-type"] == "application/problem+json"
        foreign = await gateway.http.request(method, url, headers={"Authorization": "Bearer nonsense"})
        assert foreign.status_code == 401, (method, path)
        if path == "/api/v1/events":
            continue
        reading = method == "GET" and path not in FOR_ADMINISTRATORS_TO_READ
        reading = reading or path in FOR_VIEWERS
        for caller, may in ((viewer, reading), (operator, reading or path in FOR_OPERATORS)):
            answer = await gateway.http.request(method, url, headers=caller.headers)
            assert (answer.status_code != 403) == may, (method, path, answer.text)


async def test_logins_end_when_they_are_told_to_or_their_user_goes(gateway, admin):
    viewer = await caller_with(gateway, admin, "viewer")
    again = await gateway.log_in("the-viewer", "long enough 1")
    await again.call("DELETE", "/session", expect=204)
    await again.call("GET", "/servers", expect=401)
    await viewer.call("GET", "/servers", expect=200)
    await admin.call("DELETE", "/users/the-viewer", expect=204)
    await viewer.call("GET", "/servers", expect=401)
    await admin.call("DELETE", "/users/admin", expect=409)


async def test_a_login_lasts_as_long_as_it_is_set_to(host, database):
    async with running_gateway(host, session_hours=1 / 3600) as gateway:
        caller = await gateway.log_in()
        async with asyncio.timeout(10):
            while (await caller.call("GET", "/servers")).status_code == 200:
                await asyncio.sleep(0.1)
        assert (await caller.call("GET", "/servers")).json()["type"] == "unauthenticated"


async def test_wrong_logins_are_refused_alike_and_then_slowed_down(gateway):
    async def attempt(username):
        return await gateway.http.post("/api/v1/session", json={"username": username, "password": "wrong"})

    answers = {(await attempt(name)).text for name in ("admin", "nobody", "üñí", "$ne", "a.b")}
    assert len(answers) == 1
    while (answer := await attempt("nobody")).status_code == 401:
        pass
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert (await gateway.log_in()).token


async def test_tokens_and_passwords_are_kept_as_hashes_only(gateway, admin, database):
    added = await admin.call(
        "POST",
        "/servers",
        json={"name": "North", "role": "recording"},
        headers={"Idempotency-Key": "k1"},
        expect=201,
    )
    secrets = [admin.token, ADMINISTRATOR[1], added.json()["join_token"]]
    for name in await database.raw.list_collection_names():
        async for document in database.raw[name].find():
            kept = repr(document)
            assert not [secret for secret in secrets if secret in kept], name


async def test_every_answer_carries_the_headers_that_protect_it(gateway, admin):
    for path in ("/", "/static/console.css", "/api/v1/servers", "/nowhere", "/api/v1/nowhere"):
        answer = await gateway.http.get(path, headers=admin.headers)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert ("no-store" in answer.headers["cache-control"]) == path.startswith("/api")
    assert '<script src="http' not in (await gateway.http.get("/")).text


PATHS = [
    "/nowhere",
    "/api/v1/nowhere",
    "/api/v1",
    "/static/../settings.py",
    "/static/%2e%2e/settings.py",
    "/static/..%2fsettings.py",
    "/static/%00",
    "/api/v1/servers/%00",
    "/api/v1/servers/..%2f..",
    "/api/v1/servers/A",
    "/api/v1/servers/" + "a" * 300,
    "/api/v1/failovers/f-0",
    "/api/v1/failovers/f-99999999999999999999",
    "/api/v1/servers?limit=0",
    "/api/v1/servers?limit=99999999999999999999999",
    "/api/v1/servers?limit=x",
    "/api/v1/servers?cursor=!!",
    "/api/v1/servers?role=king",
    "/api/v1/failovers?server=$ne",
    "/api/v1/failovers?cursor=bm5vdC1h",
    "/api/v1/events?kinds=*",
]


async def test_paths_and_queries_that_make_no_sense_are_problems(admin):
    for path in PATHS:
        answer = await admin.http.get(path, headers=admin.headers)
        assert 400 <= answer.status_code < 500, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", (path, answer.text)
        assert set(answer.json()) >= {"type", "title", "status", "detail"}
        assert answer.json()["status"] == answer.status_code


async def test_a_method_that_a_path_does_not_take_is_a_problem(admin):
    answer = await admin.call("PUT", "/servers")
    assert answer.status_code == 405
    assert answer.json()["type"] == "method-not-allowed"


DEEP = b"[" * 100_000
BODIES = {
    "empty": b"",
    "no json": b"{",
    "array": b"[]",
    "null": b"null",
    "text": b'"x"',
    "not utf-8": b'{"name":"\xff\xfe"}',
    "bom": b'\xef\xbb\xbf{"name":"a"}',
    "lone surrogate": b'{"name":"\\ud800","role":"recording"}',
    "deep array": DEEP,
    "deep objects": b'{"name":' * 100_000,
    "deep closed": DEEP + b"]" * 100_000,
    "nan": b'{"name":NaN}',
    "infinity": b'{"priority":1e999,"name":"a","role":"recording"}',
    "huge number": b'{"priority":' + b"9" * 5000 + b',"name":"a","role":"recording"}',
    "nul": b'{"name":"a\\u0000b","role":"recording"}',
    "unknown field": b'{"name":"a","role":"recording","admin":true}',
    "operators": b'{"name":{"$ne":1},"role":{"$gt":""}}',
    "wrong types": b'{"name":1,"role":[],"settings":1,"password":{},"username":[],"token":3}',
    "long name": b'{"name":"' + b"a" * 500 + b'","role":"recording"}',
    "two mebibytes": b'{"name":"' + b"a" * (2 * 1024 * 1024) + b'"}',
}


async def test_any_body_is_answered_never_suffered(gateway, admin, operations):
    await admin.add_recording_server("Real")
    writing = [(method, filled(path).replace("nobody", "real")) for method, path in operations]
    writing = [(method, url) for method, url in writing if method not in {"GET", "DELETE"}]
    for name, body in BODIES.items():
        for method, url in writing:
            headers = {**admin.headers, "Content-Type": "application/json"}
            answer = await gateway.http.request(method, url, content=body, headers=headers)
            if url.endswith(
                ("/join-token", "/stop-restoration", "/ticket", "/direct", "/snapshots", "/events")
            ):
                continue  # these take no body, and look at none
            if url.endswith("/failover") and name in {"empty", "null"}:
                assert answer.status_code == 503  # that is a good request, but no orchestrator is here
                continue
            what = (name, method, url, answer.status_code, answer.text[:300])
            assert 400 <= answer.status_code < 500, what
            assert answer.headers["content-type"] == "application/problem+json", what
            assert answer.status_code == 413 or name != "two mebibytes", what


async def test_an_eleven_megabyte_body_is_cut_off(gateway, admin):
    async def endless():
        for _ in range(11):
            yield b"a" * 1024 * 1024

    try:
        answer = await admin.call("POST", "/servers", content=endless())
    except httpx.WriteError:
        return  # the gateway closed while we were still sending
    assert answer.status_code == 413


async def test_other_content_types_are_read_as_json_or_refused(admin):
    for content_type in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "a" * 100):
        answer = await admin.call(
            "POST", "/servers", content=b"--x\r\n\r\n--x--", headers={"Content-Type": content_type}
        )
        assert 400 <= answer.status_code < 500


async def test_the_same_key_gets_the_first_answer_again(gateway, admin):
    async def add(name, key, caller=admin):
        return await caller.call(
            "POST", "/servers", json={"name": name, "role": "recording"}, headers={"Idempotency-Key": key}
        )

    first = await add("North", "key-1")
    assert first.status_code == 201
    again = await add("North", "key-1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await admin.get("/servers"))["items"]) == 1
    assert (await add("South", "key-1")).status_code == 400
    assert (await add("North", "key-2")).json()["server"]["id"] == "north-2"
    other = await caller_with(gateway, admin, "administrator")
    assert (await add("North", "key-1", other)).json()["server"]["id"] == "north-3"
    for bad in ("", "x" * 201, "a b"):
        assert (await add("North", bad)).status_code == 400


async def test_a_key_is_free_again_when_the_first_request_was_refused(admin):
    headers = {"Idempotency-Key": "retry"}
    body = {"name": "Spare", "role": "failover"}
    warning = (await admin.call("POST", "/servers", json=body, headers=headers, expect=409)).json()
    body["confirmation"] = warning["confirmation"]
    await admin.call("POST", "/servers", json=body, headers=headers, expect=201)
    await admin.call("POST", "/servers", json=body, headers=headers, expect=201)
    assert len((await admin.get("/servers"))["items"]) == 1


async def test_many_at_once_with_one_key_do_it_once(admin):
    async def add():
        return await admin.call(
            "POST",
            "/servers",
            json={"name": "North", "role": "recording"},
            headers={"Idempotency-Key": "same"},
        )

    answers = await asyncio.gather(*(add() for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.text for answer in answers if answer.status_code == 201}) == 1
    assert len((await admin.get("/servers"))["items"]) == 1


async def test_every_change_is_in_the_audit_without_secrets(gateway, admin):
    added = await admin.add_recording_server("North")
    await admin.call("PATCH", "/servers/north", json={"priority": 2}, expect=200)
    await caller_with(gateway, admin, UserRole.VIEWER)
    await admin.call("PUT", "/failover-settings", json={"settling_s": 9}, expect=200)
    await admin.call("PUT", "/failover-settings", json={"settling_s": 9}, expect=200)
    page = await admin.get("/audit?limit=4")
    rest = await admin.get(f"/audit?cursor={page['next']}")
    entries = [*page["items"], *rest["items"]]
    whats = [entry["what"] for entry in reversed(entries)]
    assert whats == [
        "created-first-administrator",
        "logged-in",
        "added-server",
        "changed-server",
        "added-user",
        "logged-in",
        "changed-failover-defaults",
    ]
    assert all(entry["at"] > 0 and entry["user"] for entry in entries)
    text = json.dumps(entries)
    assert added["join_token"] not in text
    assert "long enough 1" not in text


async def test_metrics_and_health_need_no_login_and_tell_no_secret(gateway, admin):
    text = (await gateway.http.get("/metrics")).text
    assert 'understudy_http_requests_total{method="POST",status="201"}' in text
    assert admin.token not in text
    assert (await gateway.http.get("/health/live")).status_code == 200
