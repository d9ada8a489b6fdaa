// Pictures of every view of a program at work, light and dark, wide and narrow; the documentation shows some of them.
import {colours, drive, expect, js, key, picture, ready, shown, size, until} from './browser.mjs';

const views = ['overview', 'goroutines', 'leaks', 'flame', 'suspects', 'growth', 'scopes'];

await drive(async () => {
  await size(1200, 900);
  await ready('overview');
  await until('document.querySelectorAll("#chart polygon").length > 3');
  await shown('dashed');
  await until('fetch("/debug/leash/api/overview").then(r => r.json()).then(o => o.history.at.length > 12)');  // something to be seen in the chart
  for (const [name, width, height] of [['wide', 1200, 900], ['narrow', 420, 900]]) {
    await size(width, height);
    for (const scheme of ['light', 'dark']) {
      await colours(scheme);
      for (const [i, view] of views.entries()) {
        await key(String((i + 1) % views.length + 1));
        await ready(views[(i + 1) % views.length]);
        await key(String(i + 1));
        await ready(view);
        if (view === 'goroutines') await js('document.querySelector("#main details summary").click()');
        expect(await js('document.documentElement.scrollWidth <= innerWidth'), 'no sideways scrolling: ' + view + ', ' + name);
        await picture(view + '-' + name + '-' + scheme);
      }
    }
  }
  // For the documentation: docs/img/ has copies of these.
  await colours('light');
  for (const [i, view] of views.entries()) {
    if (!['overview', 'leaks', 'flame'].includes(view)) continue;
    await size(1000, view === 'flame' ? 380 : 620);
    await key(String((i + 1) % views.length + 1));
    await ready(views[(i + 1) % views.length]);
    await key(String(i + 1));
    await ready(view);
    await picture('docs-' + view);
  }
  await size(1200, 900);
  await key('1');
  await ready('overview');
  await key('s');
  await until('document.querySelector("#by_site").getAttribute("aria-pressed") === "true"');
  await picture('overview-by-site');
  await key('3');
  await ready('leaks');
  await js('[...document.querySelectorAll("#main button")].find(b => b.textContent === "Next knot").click()');
  await shown('knot 2 of 3');
  await picture('leaks-next');
});
