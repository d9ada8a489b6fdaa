// A headless browser, driven by its own protocol over a pipe: node SCRIPT.mjs CHROMIUM ADDRESS FOLDER. What a script shows, types and
// expects is in the script; errors on the console end it.
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

const [chromium, address, folder] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'leash_page_'));
const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--hide-scrollbars', '--lang=en',
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
export function call(method, params = {}) {
  const id = ++number;
  to.write(JSON.stringify({id, method, params, sessionId: session}) + '\0');
  return new Promise((good, bad) => waiting.set(id, m => m.error ? bad(new Error(method + ': ' + m.error.message)) : good(m.result)));
}
export async function js(expression) {
  const r = await call('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
  if (r.exceptionDetails) throw new Error(expression + ': ' + r.exceptionDetails.exception?.description);
  return r.result.value;
}
export async function until(expression) {
  for (const end = Date.now() + 30000; Date.now() < end; await new Promise(r => setTimeout(r, 50))) if (await js(expression)) return;
  throw new Error('in vain waited for: ' + expression + '\n' + await js('document.body.innerText.slice(0, 3000)'));
}
export const shown = text => until('document.getElementById("main").innerText.includes(' + JSON.stringify(text) + ')');
export const ready = view => until('document.body?.dataset.ready === ' + JSON.stringify(view));
export async function key(k) {
  const code = {Enter: 13, Escape: 27, Tab: 9, Backspace: 8, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40}[k];
  const params = {key: k, windowsVirtualKeyCode: code || k.toUpperCase().charCodeAt(0), ...(code === 13 ? {text: '\r'} : code ? {} : {text: k})};
  await call('Input.dispatchKeyEvent', {type: 'keyDown', ...params});
  await call('Input.dispatchKeyEvent', {type: 'keyUp', ...params});
}
export const type = text => call('Input.insertText', {text});
export async function picture(name) {
  const {data} = await call('Page.captureScreenshot', {format: 'png'});
  writeFileSync(join(folder, name + '.png'), Buffer.from(data, 'base64'));
}
export function expect(good, what) { if (!good) throw new Error('not so: ' + what); }
export const colours = scheme => call('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: scheme}]});
export const size = (width, height) => call('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: width < 600});

/// Opens the address, runs the script, prints what went wrong or "all was as expected", and ends the process.
export async function drive(script) {
  let code = 0;
  try {
    const {targetInfos} = await call('Target.getTargets');
    const {sessionId} = await call('Target.attachToTarget', {targetId: targetInfos.find(t => t.type === 'page').targetId, flatten: true});
    session = sessionId;
    for (const domain of ['Page', 'Runtime', 'Log']) await call(domain + '.enable');
    await colours('light');
    await call('Page.navigate', {url: address});
    await script();
    expect(errors.length === 0, 'no errors on the console');
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
}
