"""What an operator does: asked once, done by what the API calls, and logged."""

from __future__ import annotations

from service.storage.tables import Delivery, Training, WebhookEndpoint
from tests.ops.test_pages import ready
from tests.ops.visitor import Visitor
from tests.support.endpoints import subscribed
from tests.support.gateway import OTHER_KEY, SECRET


async def test_a_webhook_is_sent_again_with_its_old_id(visitor: Visitor) -> None:
    gateway = visitor.gateway
    await gateway.receiver.fault("status", status=500)
    training_id = await ready(visitor, callback={"url": gateway.receiver.hook(), "secret": SECRET})
    [delivery] = await gateway.deliveries(training_id)
    asked, _ = await visitor.ask(f"/ops/deliveries/{delivery['id']}/resend")
    assert "The attempt that is planned is made now instead." in asked
    assert "It is being sent again." in await visitor.do(f"/ops/deliveries/{delivery['id']}/resend")
    assert await gateway.deliver() == 1
    assert "It arrived just now at attempt 2." in await visitor.read(f"/ops/deliveries/{delivery['id']}")
    first, second = await gateway.receiver.received()
    assert first.id == second.id == delivery["event_id"]


async def test_what_came_of_an_action_is_said_once(visitor: Visitor) -> None:
    training_id = await ready(visitor, callback_url=visitor.gateway.receiver.hook())
    [delivery] = await visitor.gateway.deliveries(training_id)
    assert "It is being sent again." in await visitor.do(f"/ops/deliveries/{delivery['id']}/resend")
    assert "It is being sent again." not in await visitor.read(f"/ops/deliveries/{delivery['id']}")


async def test_a_watch_is_stopped(visitor: Visitor) -> None:
    training_id = (await visitor.gateway.started())["id"]
    asked, _ = await visitor.ask(f"/ops/trainings/{training_id}/cancel")
    assert "PhotoGPT has no cancel: the training itself goes on there" in asked
    said = await visitor.do(f"/ops/trainings/{training_id}/cancel")
    assert "The watch was stopped." in said
    assert (await visitor.gateway.row(Training, training_id)).status == "cancelled"


async def test_what_can_not_be_done_has_no_button_and_a_reason(visitor: Visitor) -> None:
    training_id = await ready(visitor)
    page = await visitor.page(f"/ops/trainings/{training_id}/cancel")
    assert "It has ended already: it is ready." in page
    assert "Stop the watch" not in page
    assert "/cancel" not in await visitor.page(f"/ops/trainings/{training_id}")


async def test_who_comes_too_late_is_told_and_nothing_is_done(visitor: Visitor) -> None:
    training_id = (await visitor.gateway.started())["id"]
    path = f"/ops/trainings/{training_id}/cancel"
    _, csrf = await visitor.ask(path)
    await visitor.gateway.upstream.say("ready")
    await visitor.gateway.next_poll(training_id)
    answer = await visitor.http.post(path, data={"csrf": csrf})
    said = await visitor.read(answer.headers["location"])
    assert "Nothing was done. The training has ended: it is ready." in said


async def test_an_endpoint_is_paused_and_resumed_and_what_waited_is_sent(visitor: Visitor) -> None:
    gateway = visitor.gateway
    endpoint = await subscribed(gateway)
    assert "Paused: its events wait." in await visitor.do(f"/ops/endpoints/{endpoint['id']}/pause")
    assert (await gateway.row(WebhookEndpoint, endpoint["id"])).status == "paused"
    training_id = await ready(visitor)
    [delivery] = await gateway.deliveries(training_id)
    assert "it is held, since its webhook endpoint is paused" in await visitor.read(f"/ops/deliveries/{delivery['id']}")
    assert await gateway.receiver.received() == []
    assert "Resumed. What waited is being sent." in await visitor.do(f"/ops/endpoints/{endpoint['id']}/resume")
    assert await gateway.deliver() == 1


async def test_a_test_event_says_what_came_of_it(visitor: Visitor) -> None:
    endpoint = await subscribed(visitor.gateway)
    path = f"/ops/endpoints/{endpoint['id']}/test"
    assert "The test event arrived: HTTP 204" in await visitor.do(path)
    await visitor.gateway.receiver.fault("status", status=404)
    assert "The test event did not arrive" in await visitor.do(path)


async def test_what_failed_is_recovered(visitor: Visitor) -> None:
    gateway = visitor.gateway
    endpoint = await subscribed(gateway)
    await gateway.receiver.fault("status", status=500)
    await ready(visitor)
    gateway.advance(1)
    path = f"/ops/endpoints/{endpoint['id']}/recover"
    asked, _ = await visitor.ask(path)
    assert "1 delivery to " in asked
    assert "1 delivery is being sent again." in await visitor.do(path)


async def test_it_is_done_as_the_tenant_whose_row_it_is(visitor: Visitor) -> None:
    gateway = visitor.gateway
    await gateway.upstream.put_model("theirs", key=OTHER_KEY)
    answer = await gateway.train("theirs", headers={"authorization": f"Bearer {OTHER_KEY}"})
    training_id = answer.json()["id"]
    await visitor.do(f"/ops/trainings/{training_id}/cancel")
    assert (await gateway.row(Training, training_id)).status == "cancelled"


async def test_there_are_no_other_actions(visitor: Visitor) -> None:
    training_id = await ready(visitor, callback_url=visitor.gateway.receiver.hook())
    [delivery] = await visitor.gateway.rows(Delivery)
    for path in (
        f"/ops/trainings/{training_id}/resend", f"/ops/deliveries/{delivery.id}/cancel",
        f"/ops/endpoints/{delivery.id}/pause", "/ops/trainings/trn_x/cancel", f"/ops/tenants/{training_id}/delete",
    ):  # fmt: skip
        assert (await visitor.http.get(path)).status_code == 404
        assert (await visitor.http.post(path, data={"csrf": "x"})).status_code in {403, 404}
