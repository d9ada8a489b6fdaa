// Uses the page of the scene in client.cpp, mostly with the keyboard; every view is opened.
import {call, colours, drive, expect, js, key, picture, ready, shown, size, type, until} from './browser.mjs';

const focusIn = selector => 'document.activeElement.matches(' + JSON.stringify(selector) + ')';
// The page has looked again.
async function again() {
  const before = await js('document.getElementById("status").textContent');
  await until('document.getElementById("status").textContent !== ' + JSON.stringify(before));
}

await drive(async () => {
  await ready('overview');
  await shown('Where they wait');
  expect(await js('document.getElementById("program").textContent').then(t => /^test_debug \d+ on \S/.test(t)), 'it says which program this is');
  await size(1000, 800);
  expect(await js('document.querySelector("header").offsetHeight') < 60, 'what stands on top takes one row');
  await size(1200, 900);
  expect(await js('document.title') === 'test_debug \u00b7 overview \u00b7 leash', 'so does the title');
  await shown('leash::test::receive');
  await until('document.querySelectorAll("#chart polygon").length > 1');  // the second look has come
  await shown('leaked 3 (dashed)');
  await until('document.querySelector("#nav [data-view=leaks]").textContent === "Leaks3"');
  await shown('Timers armed');
  await shown('Blocking pool: threads');
  // The chart: by site and back, other times.
  await key('s');
  await shown('client.cpp:');
  await until('document.querySelector("#by_site").getAttribute("aria-pressed") === "true"');
  await js('document.getElementById("chart").focus()');
  await key('ArrowLeft');
  expect(!(await js('document.querySelector(".legend").innerText')).startsWith('now'), 'the legend tells of an earlier time');
  await again();
  expect(await js(focusIn('#chart')), 'the chart has the focus still');
  await key('s');
  await until('document.querySelector("#by_state").getAttribute("aria-pressed") === "true"');

  await key('2');
  await ready('goroutines');
  await shown('of 306 goroutines');
  await shown('shown: 1 to 50');
  await key('n');
  await shown('shown: 51 to 100');
  await key('/');
  await until('document.activeElement.name === "q"');
  await type('alice');
  await key('Enter');
  await shown('1 of 306 goroutines');
  await shown('(leaked)');
  await js('document.querySelector("#main details summary").click()');
  await shown('started by goroutine');
  // What is open stays open when the page looks again, and what is typed stays too.
  await js('document.querySelector("#filter input[name=state]").focus()');
  await type('sle');
  await again();
  expect(await js('document.activeElement.value') === 'sle', 'what was typed is still there');
  expect(await js('document.querySelector("#main details").open'), 'the stack is still open');
  expect(await js('[...document.querySelectorAll("#states option")].some(o => o.value === "sleep")'), 'states are proposed');
  await key('Escape');
  // Nor does text that is being copied go, nor a button between press and release.
  await js('getSelection().selectAllChildren(document.querySelector("#main tbody pre"))');
  await until('document.getElementById("status").textContent === "held while text is selected"');
  const copied = await js('getSelection().toString()');
  await new Promise(r => setTimeout(r, 2500));
  expect(copied.includes('started by goroutine') && await js('getSelection().toString()') === copied, 'what is selected is selected still');
  await js('getSelection().removeAllRanges()');
  await again();
  await js('window.row = document.querySelector("#main tbody tr")');
  const mouse = type => call('Input.dispatchMouseEvent', {type, x: 300, y: 5, button: 'left', buttons: 1, clickCount: 1});
  await mouse('mousePressed');
  await new Promise(r => setTimeout(r, 2500));
  expect(await js('row.isConnected'), 'nothing is replaced while the mouse is pressed');
  await mouse('mouseReleased');
  await until('!row.isConnected');
  // Labels, states and scopes are links to those that have them too.
  await js('[...document.querySelectorAll("#main td a")].find(a => a.textContent === "team=talkers").click()');
  await shown('2 of 306 goroutines');

  await key('3');
  await ready('leaks');
  await shown('3 goroutines are leaked');
  await shown('2 form 1 knot');
  await shown('(bob)');
  await shown('waits for the channel made at');
  const inPicture = selector => js('document.querySelector(".knot").shadowRoot.querySelectorAll(' + JSON.stringify(selector) + ').length');
  expect(await inPicture('g > rect.core') === 2, 'two in the knot');
  expect(await inPicture('g > rect.dependent') === 1, 'one waits for it');
  await js('document.querySelector(".kind > details > summary").focus()');
  await key('Enter');
  expect(!await js('document.querySelector(".kind > details").open'), 'Enter closes the knot');
  await again();
  expect(!await js('document.querySelector(".kind > details").open'), 'it stays closed');
  expect(await js(focusIn('summary')), 'and has the focus');

  await key('4');
  await ready('flame');
  await until('document.querySelectorAll(".flame button").length > 5');
  expect(await js('[...document.querySelectorAll(".flame button")].some(b => b.textContent === "chan receive")'), 'states are the innermost');
  expect(await js('[...document.querySelectorAll(".flame button")].every(b => b.offsetHeight < 22)'), 'no row of frames covers the next one');
  await js('document.querySelector(".flame [tabindex=\\"0\\"]").focus()');
  await key('ArrowDown');
  const started = await js('document.activeElement.textContent');
  expect(started.startsWith('started at client.cpp:'), 'below all are the lines that started them, not ' + started);
  await key('ArrowRight');
  expect(await js('document.activeElement.textContent') !== started, 'the next one');
  await key('ArrowLeft');
  await key('Enter');
  expect(await js('document.activeElement.style.width') === '100%', 'it fills the width');
  await again();
  expect(await js('document.activeElement.textContent') === started, 'and stays where it is');
  await key('Backspace');
  expect(await js('document.activeElement.getAttribute("aria-level")') === '1', 'back to all');
  await js('document.getElementById("width_time").click()');
  await shown('all together');
  await key('/');
  await until('document.activeElement.name === "q"');
  await type('relay');
  await key('Enter');
  await until('document.querySelectorAll(".flame .faint").length > 0 && document.querySelectorAll(".flame button:not(.faint)").length > 0');

  await key('5');
  await ready('suspects');
  await key('6');
  await ready('growth');
  await shown('Per minute');

  await key('7');
  await ready('scopes');
  await shown('3 scopes have goroutines');
  expect(await js('document.querySelectorAll(".tree ul ul .line").length') === 1, 'the scope of the talkers lies in the one that started who made it');
  await js('document.querySelector(".tree ul ul a[href*=scope]").click()');
  await ready('goroutines');
  await shown('2 of 306 goroutines');

  await key('?');
  expect(await js('document.getElementById("keys").open'), '? tells the keys');
  await key('Escape');
  await until('!document.getElementById("keys").open');
  await key('p');
  await until('document.getElementById("status").textContent === "paused"');
  await key('p');
  await until('document.getElementById("status").textContent.startsWith("live")');
  await key('1');
  await ready('overview');
  // Every view can be reached by Tab alone.
  expect(await js('[...document.querySelectorAll("#nav a")].every(a => a.tabIndex === 0 && a.href)'), 'links in the row of views');
  await key('Tab');
  expect(await js(focusIn('a, button, #chart')), 'Tab goes on');
  await colours('dark');
  // As WCAG has it: how far two colours are apart.
  const contrast = `(e => { const lum = c => { const [r, g, b] = c.match(/\\d+/g).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const a = lum(getComputedStyle(e).color), b = lum(getComputedStyle(document.body).backgroundColor); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); })`;
  for (const scheme of ['dark', 'light']) {
    await colours(scheme);
    for (const what of ['body', '.dim', 'a', '.bad']) {
      const n = await js(contrast + '(document.querySelector("main ' + what + '") || document.body)');
      expect(n >= 4.5, what + ' can be read in ' + scheme + ': contrast ' + n);
    }
  }
  for (const [view, n] of [['overview', 1], ['goroutines', 2], ['leaks', 3], ['flame', 4], ['suspects', 5], ['growth', 6], ['scopes', 7]]) {
    await size(400, 800);
    await key(String(n));
    await ready(view);
    expect(await js('document.documentElement.scrollWidth <= innerWidth'), 'no sideways scrolling on a small screen: ' + view);
  }
});
