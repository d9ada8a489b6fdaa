// All of leash::net.
#pragma once
#include <leash/net/async.hpp>
#include <leash/net/buffer.hpp>
#include <leash/net/descriptor.hpp>
#include <leash/net/file.hpp>
#include <leash/net/process.hpp>
#include <leash/net/resolve.hpp>
#include <leash/net/serve.hpp>
#include <leash/net/signals.hpp>
#include <leash/net/stream.hpp>
#include <leash/net/tcp.hpp>
#include <leash/net/tls.hpp>
#include <leash/net/udp.hpp>
#include <leash/net/unix.hpp>
