// The views: each gives the elements to show, or null for none.
const views = [['overview', 'Overview'], ['goroutines', 'Goroutines'], ['leaks', 'Leaks'], ['flame', 'Flame graph'], ['suspects', 'Suspects'],
               ['growth', 'Growth'], ['scopes', 'Scopes']];
let view = 'overview', query = new URLSearchParams();
const lookedAt = l => h('span.dim', {}, 'Looked ' + time(l.age_ms) + ' ago, which took ' + l.took_ms.toFixed(1) + ' ms.');

const show = {
  async overview() {
    const o = await ask('overview'), hist = o.history, leaked = o.leaked.proven + o.leaked.confined;
    told(leaked);
    const tile = (name, n, to, more) => h('div.tile' + (more || ''), {}, h('b' + (more || ''), {}, count(n)), to ? link(name, ...to) : name);
    const states = o.states.slice().sort((a, b) => b.count - a.count), by = keep.chart;
    const series = by === 'state' ? Object.entries(hist.states) : hist.sites.map(x => [line(x.spawned_at) || 'the run itself', x.counts]);
    const shown = largest(merged(series), hist.total, 9);
    const panel = (name, values, text) => h('div.panel', {}, h('h3', {}, name, h('b', {}, count(values[values.length - 1] || 0))), spark(values, 300, 40), text ? h('p.dim', {}, text) : null);
    const sum = k => o.runtimes.reduce((n, r) => n + r[k], 0);
    return [
      h('div.tiles', {}, tile('goroutines', o.goroutines, ['goroutines']), tile('leaked', leaked, ['leaks'], leaked ? '.bad' : ''),
        ...states.slice(0, 4).map(x => h('div.tile', {}, h('b', {}, count(x.count)), h('i', {style: {background: colour(x.state)}}), link(x.state, 'goroutines', {state: x.state})))),
      h('div.row', {}, h('h2', {}, 'Goroutines over time'), choice('by', [['state', 'by state'], ['site', 'by the line that started them']], by, v => { keep.chart = v; render(false); })),
      areas(hist.at, shown, hist.leaked.some(v => v) ? ['leaked', hist.leaked] : null, 'Goroutines over time, ' + (by === 'state' ? 'by state' : 'by the line that started them')),
      h('h2', {}, 'Workers, timers, blocking pool'),
      h('div.panels', {},
        h('div.panel', {}, h('h3', {}, 'Workers', h('b', {}, count(sum('workers')))), h('p.dim', {}, count(sum('workers') - sum('sleeping') - sum('looking')) + ' busy, ' + count(sum('looking')) + ' looking for work, ' + count(sum('sleeping')) + ' asleep'),
          h('p.dim', {}, plural(sum('spawned'), 'goroutine') + ' started, ' + count(sum('ended')) + ' ended')),
        panel('Timers armed', hist.timers),
        panel('Blocking pool: threads', hist.pool_threads, count(sum('pool_busy')) + ' busy; ' + plural(sum('in_flight'), 'completion') + ' to come from outside'),
        panel('Blocking pool: calls that wait', hist.pool_queued)),
      h('h2', {}, 'Where they wait'),
      table(['#Count', '\'Waits in', 'At', '~Started at', '#Longest'], o.sites.map(x => [
        link(count(x.count), 'goroutines', {state: x.state, site: line(x.at)}), x.state, place(x.at), place(x.spawned_at), time(x.longest_ms)]),
        'No goroutine.'),
      o.more_sites ? h('p.dim', {}, 'and ' + count(o.more_sites) + ' more places') : null];
  },

  async goroutines() {
    const limit = 50, offset = +query.get('offset') || 0;
    const q = Object.fromEntries([...query].filter(([k]) => ['q', 'state', 'site', 'label', 'scope', 'min_age', 'id', 'leaked'].includes(k)));
    const l = await ask('goroutines', {...q, offset, limit});
    return [
      filterForm(q, l.states),
      h('div.row', {}, h('span', {}, count(l.matching) + ' of ' + plural(l.total, 'goroutine') + (l.matching > limit ? ', longest wait first; shown: ' +
        (offset + 1) + ' to ' + Math.min(offset + limit, l.matching) : '')), pages(offset, limit, Math.min(l.matching, 10000), to => go('goroutines', {...q, offset: to}))),
      table(['#Id', '\'Name', '\'State', '#For', 'At', '~Started at', '~Labels'], l.goroutines.map(g => Object.assign([
        String(g.id), g.name, h('span' + (g.leaked ? '.bad' : ''), {}, link(g.state, 'goroutines', {...q, state: g.state}), g.leaked ? ' (leaked)' : ''), time(g.waiting ? g.since_ms : g.age_ms),
        unfolds('g' + g.id, g.stack.length ? place(own(g)) : 'no stack while it runs'), place(g.spawned_at), labels(g.labels)], {below: stack(g)})), 'None matches.')];
  },

  async leaks() {
    const limit = 50, offset = +query.get('offset') || 0, l = await ask('leaks', {offset, limit});
    told(l.total);
    if (!l.total) return [h('h2', {}, 'No goroutine is provably leaked'), lookedAt(l)];
    const out = [h('p', {}, h('b.bad', {}, count(l.total) + (l.total === 1 ? ' goroutine is leaked' : ' goroutines are leaked')), ': ' + count(l.core) +
      (l.knots === undefined ? ' form knots, ' : ' form ' + plural(l.knots, 'knot') + ', ') + count(l.total - l.core) + ' wait for those. ' + (l.confined ? count(l.confined) + ' are confined: proved if frames are reached by their owner\u2019s family only. ' : ''), lookedAt(l))];
    const kinds = l.kinds || [];
    // The pictures of the first kinds come with the page, the others when they are opened.
    const opened = key => !!$main.querySelector('details[data-key="' + CSS.escape(key) + '"][open]');
    const wanted = kinds.map((k, i) => i < 4 || opened(kindKey(k)));
    const knots = await Promise.all(kinds.map((k, i) => wanted[i] ? knotOf(k) : null));
    kinds.forEach((k, i) => out.push(kindCard(k, knots[i], i < 4)));
    if (l.more_kinds) out.push(h('p.dim', {}, 'and ' + plural(l.more_kinds, 'more kind') + ' of knots'));
    out.push(h('h2', {}, 'By place'), table(['#Count', '\'Waits in', 'At', '~Started at', '#Longest'],
      l.sites.map(x => [link(count(x.count), 'goroutines', {leaked: 1, state: x.state, site: line(x.at)}), x.state, place(x.at), place(x.spawned_at), time(x.longest_ms)])));
    out.push(h('h2', {}, 'Each'));
    if (!l.described) out.push(h('p.dim', {}, 'So many are not described one by one.'));
    else out.push(h('div.row', {}, pages(offset, limit, l.total, to => go('leaks', {offset: to})),
      h('a', {href: '/debug/pprof/goroutineleak?debug=2' + (token ? '&token=' + encodeURIComponent(token) : ''), target: '_blank', rel: 'noopener'}, 'as text')));
    for (const g of l.leaks) out.push(h('section.card.' + g.role, {}, member(g, 'l')));
    if (l.dot) out.push(details('dot', 'For Graphviz', h('pre', {}, l.dot)));
    return out;
  },

  async flame() {
    const by = query.get('by') === 'time' ? 'time' : 'count', state = query.get('state') || '', f = await ask('flame', {by, state});
    const with_ = more => { const q = {by, state, find: query.get('find') || '', ...more}; go('flame', Object.fromEntries(Object.entries(q).filter(([k, v]) => v && !(k === 'by' && v === 'count')))); };
    const form = h('form', {id: 'find', role: 'search', onsubmit: e => { e.preventDefault(); with_({find: e.target.elements.q.value}); }},
      h('label', {}, 'Highlight (press /)', h('input', {name: 'q', type: 'search', value: query.get('find') || '', autocomplete: 'off', spellcheck: 'false', placeholder: 'function, file'})),
      h('label', {}, 'State', h('select', {name: 'state', onchange: e => with_({state: e.target.value})}, h('option', {value: ''}, 'all'),
        f.states.sort().map(x => h('option', {value: x, selected: x === state}, x)))),
      choice('width', [['count', 'by number'], ['time', 'by time waited']], by, v => with_({by: v})),
      h('button', {type: 'button', id: 'zoom_out', onclick: () => { keep.zoom = []; keep.frame = null; render(false); }}, 'Zoom out'));
    if (!f.root.value) return [form, h('p.dim', {}, f.goroutines ? 'None of them has waited yet.' : 'No goroutine.')];
    return [form, flameGraph(f.root, by, 'From the line that started goroutines, down through who awaits whom, to what they wait in; ' + (by === 'time' ? 'as wide as they have waited there, all together.' : 'as wide as there are goroutines.') +
      ' Click or Enter: zoom in; Backspace: out; arrow keys: go about. What is thinner than a thousandth is left out.', query.get('find'))];
  },

  async suspects() {
    const l = await ask('suspects');
    const alike = new Map();  // those that wait and were started at the same places are told once, by the most suspicious
    for (const g of l.suspects) {
      const at = own(g) || {}, key = [g.state, at.file, at.line, g.spawned_at.file, g.spawned_at.line].join();
      if (!alike.has(key)) alike.set(key, {...g, others: 0}); else ++alike.get(key).others;
    }
    return [h('p.dim', {}, 'What looks as if it leaked, but is not proved to, with what stands against a proof. Most suspicious first.'),
      table(['#Score', '\'Goroutine', 'Why'], [...alike.values()].map(g => Object.assign([g.score.toFixed(2), [link(call(g), 'goroutines', {id: g.id}), ', ' + g.state,
        g.others ? h('div', {}, 'and ', link(plural(g.others, 'other') + ' like it', 'goroutines', {state: g.state, site: line(own(g) || g.spawned_at)})) : ''],
        unfolds('s' + g.state + line(own(g)) + line(g.spawned_at), g.why)], {below: stack(g)})), 'Nothing is suspicious.'),
      l.total > l.suspects.length ? h('p.dim', {}, 'and ' + count(l.total - l.suspects.length) + ' more') : null];
  },

  async growth() {
    const l = await ask('growth');
    return [h('p.dim', {}, 'Goroutines alive by the line that started them, fastest growing first.'),
      table(['Started at', '#Alive', '#Per minute', 'Lately', '#Oldest', '#Newest'], l.sites.map(x => [place(x.spawned_at) || 'the run itself',
        link(count(x.count), 'goroutines', {site: line(x.spawned_at)}), h('span' + (x.per_minute >= 1 ? '.bad' : ''), {}, (x.per_minute >= .05 ? '+' : '') + x.per_minute.toFixed(1).replace(/^-0\.0$/, '0.0')), spark(x.counts),
        time(x.oldest_ms), time(x.newest_ms)]))];
  },

  async scopes() {
    const l = await ask('scopes');
    const node = (n, path, depth) => {
      const key = path + '/' + n.made_at.file + ':' + n.made_at.line, all = n.members + n.below;
      const head = h('span.line', {style: {'--part': 100 * all / Math.max(1, l.goroutines) + '%'}},
        h('span', {}, n.made_at.file ? ['scope at ', place(n.made_at)] : n.scopes === 1 ? 'the run itself' : 'runs', n.scopes > 1 ? [' ', h('b', {}, '\u00d7 ' + count(n.scopes))] : '', n.owner ? [' of ', link('goroutine ' + n.owner, 'goroutines', {id: n.owner})] : ''),
        h('span.sum', {}, link(plural(n.members, 'goroutine'), 'goroutines', n.made_at.file ? {scope: line(n.made_at)} : {}), ', ' + count(n.waiting) + ' waiting' + (n.below ? '; ' + count(n.below) + ' in scopes below' : '') + '; oldest ' + time(n.oldest_ms)));
      return n.children.length ? h('li', {}, h('details', {'data-key': key, 'data-open': depth < 3}, h('summary', {}, head), h('ul', {}, n.children.map(c => node(c, key, depth + 1)))))
        : h('li.leaf', {}, head);
    };
    return [h('p.dim', {}, plural(l.total, 'scope has goroutines', 'scopes have goroutines') + '. Those made at one line, below the same, are shown together. Below a scope are those that its goroutines made.'),
      l.tree.length ? h('ul.tree', {}, l.tree.map(n => node(n, '', 0))) : h('p.dim', {}, 'None.'),
      l.left_out ? h('p.dim', {}, plural(l.left_out, 'goroutine') + ' more, in more scopes than are looked at') : null];
  },
};

// ---- parts of views ----------------------------------------------------------------------------------------------------------------
function told(leaked) {
  const a = [...$('nav').children].find(e => e.dataset.view === 'leaks');
  a.replaceChildren('Leaks', leaked ? h('sup', {}, count(leaked)) : '');
}
// Series of the same name are one: lines of two files that are called alike.
function merged(series) {
  const all = new Map();
  for (const [name, v] of series) all.set(name, all.has(name) ? all.get(name).map((x, i) => x + v[i]) : v);
  return [...all];
}
function filterForm(q, states) {
  const field = (name, text, more) => h('label', {}, text, h('input', {name, value: q[name] || '', autocomplete: 'off', spellcheck: 'false', ...more}));
  return h('form', {id: 'filter', role: 'search', onsubmit: e => { e.preventDefault(); go('goroutines', Object.fromEntries([...new FormData(e.target)].filter(([, v]) => v))); }},
    field('q', 'Search (press /)', {type: 'search', placeholder: 'name, label, function, file'}), field('state', 'State', {placeholder: 'chan receive', list: 'states'}),
    h('datalist', {id: 'states'}, [...states, 'waiting'].sort().map(x => h('option', {value: x}))),
    field('site', 'Site', {placeholder: 'file.cpp:12'}), field('label', 'Label', {placeholder: 'key=value'}), field('scope', 'Scope made at', {placeholder: 'file.cpp:12'}), field('min_age', 'At least (seconds)', {type: 'number', min: 0}),
    h('label', {}, 'Leaked', h('select', {name: 'leaked'}, h('option', {value: ''}, 'all'), h('option', {value: '1', selected: q.leaked === '1'}, 'leaked only'))),
    h('button', {}, 'Filter'), link('Clear', 'goroutines'));
}
const chosen = new Map();  // of each kind of knot: which of them is shown
const kindKey = k => 'k' + JSON.stringify(k.members.map(m => [m.state, m.at, m.spawned_at, m.count]));
async function knotOf(k) {
  const n = Math.min(chosen.get(kindKey(k)) || 0, k.ids.length - 1);
  try { return await ask('knot', {id: k.ids[n]}); } catch { return null; }  // it has been untied since
}
function kindCard(k, knot, open) {
  const key = kindKey(k), n = Math.min(chosen.get(key) || 0, k.ids.length - 1), id = 'k' + k.ids[0];
  const turn = by => { chosen.set(key, n + by); render(false); };
  const places = new Map();  // who waits at the same line was perhaps started at several
  for (const m of k.members) {
    const one = m.state + line(m.at);
    if (!places.has(one)) places.set(one, {...m, count: 0});
    places.get(one).count += m.count;
  }
  const head = [h('b', {}, k.knots === 1 ? 'A knot of ' + plural(k.goroutines, 'goroutine') : count(k.knots) + ' knots alike, ' + plural(k.goroutines, 'goroutine')), ': ',
    [...places.values()].map((m, i) => [i ? '; ' : '', m.count > 1 ? count(m.count) + ' in ' : '', m.state, ' at ', place(m.at)])];
  const parts = knot ? [
    k.knots > 1 ? h('div.row', {}, h('button', {id: id + 'back', disabled: n === 0, onclick: () => turn(-1)}, 'Previous knot'), h('span', {}, 'knot ' + (n + 1) + ' of ' + count(k.knots)),
      h('button', {id: id + 'on', disabled: n + 1 >= k.ids.length, onclick: () => turn(1)}, 'Next knot')) : null,
    picture(knot.svg), h('div.members', {}, knot.leaks.map(g => h('section', {}, member(g, 'k')))),
    knot.members + knot.dependents > knot.leaks.length ? h('p.dim', {}, 'and ' + count(knot.members + knot.dependents - knot.leaks.length) + ' more') : null] : [h('p.dim', {}, '\u2026')];
  const d = h('details', {'data-key': key, 'data-open': open, ontoggle: e => { if (e.target.open && !knot && e.target.isConnected) render(false); }}, h('summary', {}, head), ...parts);
  return h('section.card.kind', {}, d);
}
const member = (g, key) => [
  h('div', {}, h('b', {}, link(call(g), 'goroutines', {id: g.id})), ' ' + g.state + ', ' + time(g.since_ms) + ' ', h('span.tag', {}, g.role), ' ', h('span.tag', {}, g.grade), ' ', labels(g.labels)),
  h('div', {}, g.why), details(key + g.id, own(g) ? ['stack, from ', place(own(g))] : 'stack', stack(g))];
