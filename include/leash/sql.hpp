// leash::sql: SQLite and PostgreSQL behind one interface, bound to the context down to the statement on the server.
//
// A library of its own, leash::sql, with each database only where its client library was found.
#pragma once
#include <leash/sql_connection.hpp>
#include <leash/sql_error.hpp>
#include <leash/sql_listen.hpp>
#include <leash/sql_pool.hpp>
#include <leash/sql_row.hpp>
#include <leash/sql_value.hpp>
