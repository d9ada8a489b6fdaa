// Everything of leash::http but JSON, which needs a library of its own (http/json.hpp).
#pragma once
#include <leash/http/client.hpp>
#include <leash/http/events.hpp>
#include <leash/http/files.hpp>
#include <leash/http/message.hpp>
#include <leash/http/router.hpp>
#include <leash/http/server.hpp>
#include <leash/http/websocket.hpp>
