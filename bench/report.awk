# The results, lines of "rival row workers value", as a table and, where `json` names a file, as JSON.

function median(key,   n, list, i, j, v) {
  n = split(values[key], list, " ")
  if (n == 0) return ""
  for (i = 2; i <= n; ++i) {
    v = list[i] + 0
    for (j = i - 1; j > 0 && list[j] + 0 > v; --j) list[j + 1] = list[j]
    list[j + 1] = v
  }
  return n % 2 ? list[(n + 1) / 2] + 0 : (list[n / 2] + list[n / 2 + 1]) / 2
}
function figure(v) {
  if (v == "") return "-"
  return sprintf(v < 10 ? "%.2f" : v < 100 ? "%.1f" : "%.0f", v)
}
function times(rival, leash) { return rival == "" || leash == "" || leash == 0 ? "-" : sprintf("%.2fx", rival / leash) }
function literal(v) { return v == "" ? "null" : sprintf("%.10g", v) }

# The target in words and whether it is met.
function verdict(row, w, leash, go,   need, said, met) {
  if (bound[row] == "max") {
    said = "<= " first[row]
    if (leash == "") return said
    met = leash <= first[row]
  } else if (bound[row] == "x" && w <= 2) {
    need = w == 1 ? first[row] : second[row]
    said = ">= " need "x Go"
    if (leash == "" || go == "") return said
    met = go >= need * leash
  } else {
    return ""
  }
  return sprintf("%-12s%s", said, quick ? "" : met ? "PASS" : "below")
}

{ values[$1 " " $2 " " $3] = values[$1 " " $2 " " $3] " " $4 }

END {
  lines = split(table, line, "\n")
  for (i = 1; i <= lines; ++i) {
    if (split(line[i], field, " ") == 0) continue
    unit[field[1]] = field[2]; bound[field[1]] = field[3]; first[field[1]] = field[4]; second[field[1]] = field[5]
  }
  n = split(rows, row, " ")
  workers_n = split(workers, count, " ")

  form = "%-24s %7s %-6s %9s %9s %9s %9s %9s  %s\n"
  printf "\n" form, "row", "workers", "unit", "leash", "go", "fiber", "go/leash", "fib/leash", "target"
  for (i = 1; i <= n; ++i) for (k = 1; k <= workers_n; ++k) {
    r = row[i]; w = count[k]; at = " " r " " w
    if (r == "find_leaks_latency") continue
    leash = median("leash" at); go = median("go" at); fiber = median("fiber" at)
    printf form, r, w, unit[r], figure(leash), figure(go), figure(fiber), times(go, leash), times(fiber, leash),
      verdict(r, w, leash, go)
    if (r !~ /_1k_ms$|_10k_ms$|_100k_ms$|^reclaim_/) {
      entry[++entries] = sprintf("{\"name\": \"%s\", \"workers\": %d, \"unit\": \"%s\", ", r, w, unit[r]) \
        sprintf("\"leash\": %s, \"go\": %s, \"fiber\": %s}", literal(leash), literal(go), literal(fiber))
    }
  }

  for (k = 1; k <= workers_n; ++k) {
    w = count[k]
    short = median("leash find_leaks_chain_1k_ms " w); long = median("leash find_leaks_chain_1m_ms " w)
    if (short == "" || long == "" || quick) continue
    # Ten times covers what leaving the caches costs; a quadratic pass would be a thousand times.
    printf "\nfind_leaks, ns per link of the chain (workers: %d): %.0f with 1000 links, %.0f with a million: %s",
      w, short * 1e3, long, long <= 10 * short * 1e3 ? "linear" : "NOT LINEAR"
  }
  split("leash go", who, " "); split("sleep yield", kind, " "); split("alone pass", when, " ")
  for (k = 1; k <= workers_n; ++k) for (h = 1; h <= 2; ++h) {
    w = count[k]
    if (median(who[h] " latency_sleep_pass_p50 " w) == "") continue
    printf "\n\n%-5s goroutines beside looking for leaks (workers: %d), ns late:%9s %9s %9s", who[h], w, "p50", "p99", "max"
    for (a = 1; a <= 2; ++a) for (b = 1; b <= 2; ++b) {
      key = who[h] " latency_" kind[a] "_" when[b] "_"
      printf "\n  %-6s %-55s %9s %9s %9s", kind[a], b == 1 ? "alone" : "during passes", figure(median(key "p50 " w)),
        figure(median(key "p99 " w)), figure(median(key "max " w))
    }
  }
  print ""

  if (json != "") {
    print "[" > json
    for (i = 1; i <= entries; ++i) print "  " entry[i] (i < entries ? "," : "") > json
    print "]" > json
  }
}
