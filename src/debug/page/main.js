// Going about: addresses behind #, keys, looking again every other second.
const keyHelp = [['1 \u2026 7', 'the views'], ['/', 'search'], ['n, b', 'next page, back'], ['p', 'pause, go on'], ['s', 'chart: by state, by site'], ['\u2190 \u2192', 'chart: other times'],
  ['\u2190 \u2191 \u2192 \u2193', 'flame graph: other frames'], ['Enter, Backspace', 'flame graph: zoom in, out'], ['Esc', 'leave a field'], ['?', 'this']];
let paused = false, timer = 0, asked = 0, pressed = false, program = '';

function go(to, q) { location.hash = address(to, q); }
function status(text, lost) { $('status').textContent = text; $('status').className = lost ? 'lost' : ''; }
// Where the focus is, as a selector that finds it among new elements.
function focusNow() {
  const e = document.activeElement;
  if (!e || !$main.contains(e) || e === $main) return null;
  if (e.id) return '#' + CSS.escape(e.id);
  if (e.closest('.flame')) return '.flame [tabindex="0"]';
  if (e.matches('summary')) return 'details[data-key="' + CSS.escape(e.parentNode.dataset.key) + '"] > summary';
  return e.matches('a') ? 'a[href="' + CSS.escape(e.getAttribute('href')) + '"]' : null;
}
// What must not be torn from under the hand: a button that is being pressed, text that is being copied.
const marked = () => !getSelection().isCollapsed && $main.contains(getSelection().anchorNode);
function entitle() { document.title = (program ? program + ' \u00b7 ' : '') + view + ' \u00b7 leash'; }
async function introduce() {
  const a = await ask('about');
  program = a.program;
  $('program').textContent = $('program').title = a.program + ' ' + a.pid + ' on ' + a.host;
  entitle();
}
async function render(fresh, by_itself) {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    if (!program) await introduce();
    const parts = (await show[view]()).filter(p => p);
    if (mine !== asked) return;
    if (by_itself && (pressed || marked())) return schedule();
    // What is being read or written stays: opened parts, a form with the focus in it.
    const before = new Map([...$main.querySelectorAll('details')].map(d => [d.dataset.key, d.open])), form = $main.querySelector('form');
    const at = focusNow(), kept = !fresh && form && form.contains(document.activeElement);
    if (!fresh && form) parts[0] = form;
    if (kept) { while (form.nextSibling) form.nextSibling.remove(); $main.append(...parts.slice(1)); } else $main.replaceChildren(...parts);
    for (const d of $main.querySelectorAll('details')) d.open = !fresh && before.has(d.dataset.key) ? before.get(d.dataset.key) : 'open' in d.dataset;
    if (at && !kept) $main.querySelector(at)?.focus({preventScroll: true});
    status(paused ? 'paused' : 'live \u00b7 ' + clock(Date.now()));
    document.body.dataset.ready = view;
  } catch (e) {
    if (mine !== asked) return;
    program = '';  // who answers again may be another
    status(e.message === 'Failed to fetch' ? 'the program does not answer' : e.message, true);
    if (fresh) $main.replaceChildren();
  }
  schedule();
}
function schedule() {
  clearTimeout(timer);
  if (paused) return;
  if (marked()) status('held while text is selected');
  timer = setTimeout(() => document.hidden || pressed || marked() ? schedule() : render(false, true), 2000);
}
function pause() {
  paused = !paused;
  $('pause').textContent = paused ? 'Go on' : 'Pause';
  if (paused) { clearTimeout(timer); status('paused'); } else render(false);
}
function route() {
  const [name, q] = location.hash.slice(1).split('?');
  if (name === 'main') { $main.focus(); return; }
  const other = view !== (show[name] ? name : 'overview');
  view = show[name] ? name : 'overview';
  query = new URLSearchParams(q || '');
  for (const a of $('nav').children) if (a.dataset.view === view) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  entitle();
  delete document.body.dataset.ready;
  if (other) scrollTo(0, 0);
  render(true);
}
function search() {
  const field = () => $main.querySelector('form input[name=q]');
  if (field()) { field().focus(); return; }
  go('goroutines');
  const wait = setInterval(() => { if (field()) { clearInterval(wait); field().focus(); } }, 30);
}
views.forEach(([name, text], i) => $('nav').append(h('a', {href: '#' + name, 'data-view': name, title: 'key ' + (i + 1)}, text)));
$('keys').append(h('h2', {}, 'Keys'), h('dl', {}, keyHelp.map(([k, text]) => [h('dt', {}, h('kbd', {}, k)), h('dd', {}, text)])), h('form', {method: 'dialog'}, h('button', {}, 'Close')));
$('pause').addEventListener('click', pause);
$('help').addEventListener('click', () => $('keys').showModal());
addEventListener('hashchange', route);
addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel', 'blur']) addEventListener(end, () => { pressed = false; });
addEventListener('resize', () => { if (view === 'overview') render(false); });
addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || $('keys').open) return;
  if (e.key === 'Escape') { document.activeElement.blur(); return; }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  const n = +e.key;
  if (n >= 1 && n <= views.length) go(views[n - 1][0]);
  else if (e.key === '/') { e.preventDefault(); search(); }
  else if (e.key === 'p') pause();
  else if (e.key === '?') $('keys').showModal();
  else if (e.key === 's' && view === 'overview') { keep.chart = keep.chart === 'state' ? 'site' : 'state'; render(false); }
  else if (e.key === 'n' || e.key === 'b') { const b = $(e.key === 'n' ? 'next' : 'previous'); if (b && !b.disabled) b.click(); }
});
route();
