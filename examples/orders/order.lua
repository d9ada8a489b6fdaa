-- For wrk: places orders. wrk -t2 -c32 -d10s -s examples/orders/order.lua http://127.0.0.1:8080/orders
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"customer": "wrk", "item": "apples", "quantity": 1}'
