"""The agent of the demo: it looks an order up and charges a card through the witness."""

import os
from typing import Any

from aetheris_cli.agents.python import agent
from aetheris_cli.engine.context import Context
from aetheris_cli.ports.code import current_call
from aetheris_cli.testing.witness import send
from aetheris_cli.tools.python import tool


@tool(effect="pure")
async def look_up(order: str) -> dict[str, Any]:
    """Find an order."""
    return {"order": order, "amount": 30}


@tool(effect="unsafe")
def refund_card(order: str, amount: int) -> dict[str, Any]:
    """Send money: never to be repeated unasked."""
    call = current_call()
    effect = {
        "call_id": call.id,
        "attempt": call.attempt,
        "epoch": call.epoch,
        "args": {"order": order, "amount": amount},
    }
    return send(os.environ["AETHERIS_DEMO_WITNESS"], effect)


@tool(effect="pure")
async def write_note(order: str) -> str:
    """Write the customer a line."""
    return f"order {order} is refunded"


@agent("refund")
async def refund(ctx: Context, message: str) -> str:
    """Refund an order."""
    order = await ctx.call(look_up, order=message)
    await ctx.call(refund_card, order=order["order"], amount=order["amount"])
    note: str = await ctx.call(write_note, order=order["order"])
    return note
