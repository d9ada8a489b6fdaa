// node page.mjs CHROMIUM ADDRESS FOLDER: opens the page in a headless browser, uses it with the keyboard, and fails on
// whatever is not as it should be, errors on the console included. Speaks the browser's own protocol over a pipe.
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

const [chromium, address, folder] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'leash_page_'));
const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  '--remote-debugging-pipe', '--window-size=1200,900', '--user-data-dir=' + profile, 'about:blank'], {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
const [, , , to, from] = browser.stdio;

const waiting = new Map(), errors = [];
let number = 0, rest = '', session;
from.on('data', bytes => {
  const parts = (rest + bytes).split('\0');
  rest = parts.pop();
  for (const m of parts.map(p => JSON.parse(p))) {
    if (m.id) { waiting.get(m.id)(m); waiting.delete(m.id); }
    if (m.method === 'Runtime.exceptionThrown') errors.push(m.params.exceptionDetails.exception?.description || m.params.exceptionDetails.text);
    if (m.method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(m.params.type)) errors.push(m.params.args.map(a => a.value).join(' '));
    if (m.method === 'Log.entryAdded' && m.params.entry.level !== 'verbose') errors.push(m.params.entry.text + ' ' + (m.params.entry.url || ''));
  }
});
function call(method, params = {}) {
  const id = ++number;
  to.write(JSON.stringify({id, method, params, sessionId: session}) + '\0');
  return new Promise((good, bad) => waiting.set(id, m => m.error ? bad(new Error(method + ': ' + m.error.message)) : good(m.result)));
}
async function js(expression) {
  const r = await call('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
  if (r.exceptionDetails) throw new Error(expression + ': ' + r.exceptionDetails.exception?.description);
  return r.result.value;
}
async function until(expression) {
  for (const end = Date.now() + 20000; Date.now() < end; await new Promise(r => setTimeout(r, 50))) if (await js(expression)) return;
  throw new Error('in vain waited for: ' + expression + '\n' + await js('document.body.innerText.slice(0, 2000)'));
}
const shown = text => until('document.getElementById("main").innerText.includes(' + JSON.stringify(text) + ')');
const ready = view => until('document.body?.dataset.ready === ' + JSON.stringify(view));
async function key(k) {
  const code = {Enter: 13, Escape: 27, Tab: 9}[k];
  const params = {key: k, windowsVirtualKeyCode: code || k.toUpperCase().charCodeAt(0), ...(code === 13 ? {text: '\r'} : code ? {} : {text: k})};
  await call('Input.dispatchKeyEvent', {type: 'keyDown', ...params});
  await call('Input.dispatchKeyEvent', {type: 'keyUp', ...params});
}
const type = text => call('Input.insertText', {text});
async function picture(name) {
  const {data} = await call('Page.captureScreenshot', {format: 'png'});
  writeFileSync(join(folder, name + '.png'), Buffer.from(data, 'base64'));
}
function expect(good, what) { if (!good) throw new Error('not so: ' + what); }

let code = 0;
try {
  const {targetInfos} = await call('Target.getTargets');
  const {sessionId} = await call('Target.attachToTarget', {targetId: targetInfos.find(t => t.type === 'page').targetId, flatten: true});
  session = sessionId;
  for (const domain of ['Page', 'Runtime', 'Log']) await call(domain + '.enable');
  await call('Page.navigate', {url: address});

  await ready('overview');
  await shown('Where they wait');
  await shown('leash::test::receive');
  await until('document.querySelectorAll("#main svg polygon").length > 1');  // the second look has come
  await shown('leaked 3 (dashed)');
  await picture('overview');

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
  const before = await js('document.getElementById("status").textContent');
  await until('document.getElementById("status").textContent !== ' + JSON.stringify(before));
  expect(await js('document.activeElement.value') === 'sle', 'what was typed is still there');
  expect(await js('document.querySelector("#main details").open'), 'the stack is still open');
  await key('Escape');
  await picture('goroutines');

  await key('3');
  await ready('leaks');
  await shown('3 goroutines are leaked');
  await shown('(bob)');
  await shown('waits for the channel made at');
  expect(await js('document.querySelectorAll("#main svg.knot g > rect.core").length') === 2, 'two in the knot');
  expect(await js('document.querySelectorAll("#main svg.knot g > rect.dependent").length') === 1, 'one waits for it');
  await picture('leaks');
  await call('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: 'dark'}]});
  expect(await js('getComputedStyle(document.body).color') === 'rgb(255, 255, 255)', 'light on dark');
  await picture('leaks-dark');

  await key('4');
  await ready('suspects');
  await key('5');
  await ready('growth');
  await shown('Per minute');
  await picture('growth-dark');
  await key('6');
  await ready('scopes');
  await shown('scopes have goroutines');
  await key('1');
  await ready('overview');
  // Every view can be reached by Tab alone.
  expect(await js('[...document.querySelectorAll("#nav a")].every(a => a.tabIndex === 0 && a.href)'), 'links in the row of views');
  await call('Emulation.setDeviceMetricsOverride', {width: 400, height: 800, deviceScaleFactor: 1, mobile: true});
  expect(await js('document.documentElement.scrollWidth <= innerWidth'), 'no sideways scrolling on a small screen');
  await picture('small-dark');
  expect(errors.length === 0, 'no errors on the console:\n' + errors.join('\n'));
  console.log('all was as expected');
} catch (e) {
  console.log(e.message);
  if (errors.length) console.log('console:\n' + errors.join('\n'));
  code = 1;
}
browser.once('exit', () => { rmSync(profile, {recursive: true, force: true, maxRetries: 5}); process.exit(code); });
session = undefined;
call('Browser.close').catch(() => browser.kill());
setTimeout(() => browser.kill('SIGKILL'), 5000).unref();
