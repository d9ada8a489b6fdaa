// leash::sql: SQLite and PostgreSQL behind one interface, bound to the context down to the statement on the server.
//
// A library of its own, leash::sql, with each database only where its client library was found.
#pragma once
#include <leash/sql/connection.hpp>
#include <leash/sql/error.hpp>
#include <leash/sql/listen.hpp>
#include <leash/sql/pool.hpp>
#include <leash/sql/row.hpp>
#include <leash/sql/value.hpp>
