// How long each view takes with many goroutines alive: from the key to the view, and each question by itself. Prints it; nothing is
// asserted about times.
import {drive, js, key, ready, shown} from './browser.mjs';

const rounds = +process.env.LEASH_LONG ? 5 : 1;

await drive(async () => {
  await ready('overview');
  const timed = what => js('(async () => { const t = performance.now(); await (' + what + '); return performance.now() - t; })()');
  const views = ['overview', 'goroutines', 'leaks', 'flame', 'suspects', 'growth', 'scopes'];
  await key('p');
  const rows = [];
  for (let round = 0; round < rounds; ++round) {
    for (const [i, view] of [...views.entries()].reverse()) {
      const took = await timed(`new Promise(done => { const seen = new MutationObserver(() => { if (document.body.dataset.ready === '${view}' || document.getElementById('status').className === 'lost') { seen.disconnect(); requestAnimationFrame(() => setTimeout(done)); } });
        seen.observe(document.body, {attributes: true, subtree: true}); location.hash = '${view}'; })`);
      (rows[i] ||= []).push(took);
    }
    if (rounds > 1) await new Promise(r => setTimeout(r, 1500));
  }
  rows.forEach((all, i) => console.log('view ' + views[i] + ': ' + all.map(t => t.toFixed(0)).join(' ') + ' ms'));
  for (const q of ['overview', 'goroutines', 'goroutines?q=nothing-like-it', 'goroutines?site=speed&label=user', 'leaks', 'flame', 'suspects', 'growth', 'scopes']) {
    const all = [];
    for (let round = 0; round < rounds; ++round) {
      all.push(await timed(`fetch('/debug/leash/api/${q}').then(r => r.text())`));
      if (rounds > 1) await new Promise(r => setTimeout(r, 700));
    }
    console.log('api ' + q + ': ' + all.map(t => t.toFixed(0)).join(' ') + ' ms');
  }
});
