// Places an order on the page, and sees it fulfilled, live; light and dark, wide and narrow.
import {colours, drive, js, picture, size, until} from '../../../tests/debug/browser.mjs';

await drive(async () => {
  await until('document.getElementById("live")?.textContent === "live"');
  await js('document.querySelector("[name=customer]").value = "<b>eve</b>"; document.querySelector("form button").click()');
  await until('document.querySelector("#newest td:nth-child(2)")?.textContent === "<b>eve</b>"');
  await until('document.querySelector("#newest td:last-child").textContent === "fulfilled"');
  await until('[...document.querySelectorAll("#figures div")].some(d => d.innerText.replace(/\\s+/g, " ") === "fulfilled 1")');
  for (const [name, width] of [['wide', 1000], ['narrow', 420]]) {
    await size(width, 700);
    for (const scheme of ['light', 'dark']) {
      await colours(scheme);
      await picture(`orders_${name}_${scheme}`);
    }
  }
});
