"""Table join: each order with the customer who made it, as far as we know them by then."""

from __future__ import annotations

from typing import Any

import faust
from examples_settings import NAME, SETTINGS, THRESHOLD

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=THRESHOLD)


class Customer(faust.Record):
    name: str
    address: str


class Order(faust.Record):
    number: int
    customer: str
    wishes: str


customers = app.topic(
    f"{NAME}-customers",
    key_type=str,
    value_type=Customer,
    value_serializer="json|s3",
    allow_empty=True,
)
orders = app.topic(f"{NAME}-orders", value_type=Order, value_serializer="json|s3")
invoices = app.topic(f"{NAME}-invoices", value_serializer="json|s3")
noted = app.topic(f"{NAME}-noted", value_serializer="raw")
known = app.Table("known", value_type=Customer, value_serializer="json|s3")


@app.agent(customers)
async def note(stream: Any) -> None:
    async for name, customer in stream.items():
        if customer is None:
            known.pop(name)
        else:
            known[name] = customer
        await noted.send(value=name)


@app.agent(orders, sink=[invoices])
async def bill(stream: Any) -> Any:
    async for order in stream.group_by(Order.customer):
        customer = known.get(order.customer)
        yield {
            "number": order.number,
            "wishes": order.wishes,
            "address": customer and customer.address,
        }


if __name__ == "__main__":
    app.main()
