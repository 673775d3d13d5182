import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseBootDocument, type BootDocument } from '../../agent/boot-order/boot-document.ts';
import { bootChart } from '../../agent/boot-order/svg.ts';
import { timeline } from '../../agent/boot-order/timeline.ts';
import { chromium, type Chromium } from '../support/chromium.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { scratch } from '../support/temp-tree.ts';
import { aDocument, unit } from './a-document.ts';

/** What the browser says of each text: its box, and its colour on the background. */
interface Measured {
  readonly about: string;
  readonly width: number;
  readonly height: number;
  readonly back: string;
  readonly texts: readonly {
    readonly text: string;
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
    readonly colour: string;
  }[];
}

/** Runs in the browser, in a page of several charts. */
const measure = `
const charts = [...document.querySelectorAll('main')].map((chart) => {
  const texts = [...chart.querySelectorAll('svg text')].map((element) => {
    const { x, y, width, height } = element.getBBox();
    return { text: element.textContent, x, y, width, height, colour: getComputedStyle(element).fill };
  });
  const { width, height } = chart.querySelector('svg').viewBox.baseVal;
  return { about: chart.title, width, height, back: getComputedStyle(chart.querySelector('.back')).fill, texts };
});
const result = { charts, foreign: document.querySelectorAll('main :is(script, img, image, use, a, foreignObject)').length, hostile: window.hostile !== undefined };
document.body.replaceChildren(Object.assign(document.createElement('pre'), { id: 'measured', textContent: encodeURIComponent(JSON.stringify(result)) }));
`;

const hostileName =
  '</text><script>window.hostile = 1</script><img src=x onerror="window.hostile=1"> \u202e\u0000\u001b[31m\ud800 \uffff ]]> &amp; 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW';

const documents: Readonly<Record<string, BootDocument>> = {
  'a usual boot': aDocument(),
  'a boot with names that are attacks': aDocument({
    system: { systemd: hostileName, kernel: hostileName, virtualization: '' },
    disks: [{ label: hostileName, device: hostileName, deviceNumber: '', udevUsec: 2_700_000 }],
    firstContainer: { id: hostileName, name: hostileName, image: hostileName, startUsec: 4_100_000 },
    others: [unit('sysinit.target', 2500, 2500, { after: [hostileName] }), unit(hostileName, 2400, 2450)],
  }),
  'times out of all proportion': aDocument({
    manager: {
      firmwareUsec: 10_000_000_000,
      loaderUsec: 1,
      initrdUsec: 1,
      userspaceUsec: 2,
      finishUsec: Number.MAX_SAFE_INTEGER,
    },
    firstContainer: { id: 'a', name: 'late', image: 'late:1', startUsec: 86_400_000_000_000 },
  }),
  'more disks than a machine has': aDocument({
    disks: Array.from({ length: 900 }, (_, index) => ({
      label: `dpl-${index}`,
      device: `/dev/vd${index}`,
      deviceNumber: `1:${index}`,
      udevUsec: 2_300_000 + index * 900,
    })),
  }),
  'nothing that happened': aDocument({
    units: [],
    others: [],
    boot: null,
    disks: [],
    mounts: [],
    firstContainer: null,
    manager: { firmwareUsec: 0, loaderUsec: 0, initrdUsec: 0, userspaceUsec: 0, finishUsec: 0 },
    capturedUsec: 0,
  }),
};

describe('the boot chart in a browser', () => {
  let browser: Chromium;
  before(async () => {
    browser = await chromium();
  });
  after(cleanUpAll);

  for (const scheme of ['light', 'dark'] as const) {
    it(`has no text that is cut or overlaps another, none that is hard to read, and runs nothing: ${scheme}`, async (t) => {
      const charts = Object.entries(documents).map(
        ([about, document]) =>
          `<main title="${about}">${bootChart(document, timeline(parseBootDocument(JSON.stringify(document))))}</main>`,
      );
      const page = path.join(scratch(t), 'page.html');
      writeFileSync(page, `<!doctype html><meta charset="utf-8"><body>${charts.join('\n')}<script>${measure}</script>`);
      const dom = await browser.dom(page, scheme);
      const found = JSON.parse(
        decodeURIComponent(/<pre id="measured">([^<]*)<\/pre>/.exec(dom)?.[1] ?? assert.fail(dom)),
      ) as { charts: readonly Measured[]; foreign: number; hostile: boolean };
      assert.deepEqual(
        [found.charts.map(({ about }) => about), found.foreign, found.hostile],
        [Object.keys(documents), 0, false],
      );
      for (const chart of found.charts) {
        assert.equal(luminance(chart.back) > 0.5, scheme === 'light', `${scheme}: ${chart.back}`);
        checkTexts(chart);
      }
    });
  }

  it('is drawn whole, by itself, in light and in dark', async (t) => {
    const svg = bootChart(aDocument(), timeline(aDocument()));
    const file = path.join(scratch(t), 'boot.svg');
    writeFileSync(file, svg);
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? assert.fail(svg);
    for (const [scheme, back, text] of [
      ['light', '#ffffff', '#1c1e21'],
      ['dark', '#16181b', '#e8eaed'],
    ] as const) {
      const picture = await browser.screenshot(file, scheme, { width: Number(width), height: Number(height) });
      const [right, bottom] = [picture.width - 1, picture.height - 1];
      assert.deepEqual([picture.width, picture.height], [Number(width), Number(height)]);
      // Nothing is drawn over an edge.
      for (let x = 0; x <= right; x++)
        assert.deepEqual([picture.at(x, 0), picture.at(x, bottom)], [back, back], `${scheme}, column ${x}`);
      for (let y = 0; y <= bottom; y++)
        assert.deepEqual([picture.at(0, y), picture.at(right, y)], [back, back], `${scheme}, line ${y}`);
      const colours = new Set<string>();
      for (let y = 0; y <= bottom; y++) for (let x = 0; x <= right; x++) colours.add(picture.at(x, y));
      assert.ok(colours.has(text), `${scheme}: text in ${text}`);
      assert.ok(colours.has(scheme === 'light' ? '#3f7fd0' : '#5c9ded'), `${scheme}: bars of units`);
    }
  });
});

function checkTexts({ about, width, height, back, texts }: Measured): void {
  assert.ok(texts.length > 5, about);
  for (const { text, x, y, width: wide, height: high, colour } of texts) {
    assert.ok(
      x >= 0 && y >= 0 && x + wide <= width && y + high <= height,
      `${about}: cut: ${text} at ${x},${y} of ${wide}x${high} in ${width}x${height}`,
    );
    assert.ok(contrast(colour, back) >= 4.5, `${about}: ${text}: ${colour} on ${back}`);
  }
  const boxes = texts.filter(({ width: wide }) => wide > 0).toSorted((left, right) => left.y - right.y);
  for (const [index, one] of boxes.entries()) {
    for (const other of boxes.slice(index + 1)) {
      if (other.y >= one.y + one.height) break;
      assert.ok(
        one.x + one.width <= other.x || other.x + other.width <= one.x,
        `${about}: '${one.text}' overlaps '${other.text}'`,
      );
    }
  }
}

/** WCAG 2.2, relative luminance and contrast ratio. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [...colour.matchAll(/\d+/g)]
    .map(([channel]) => Number(channel) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [bright = 0, dark = 0] = [luminance(one), luminance(other)].toSorted((left, right) => right - left);
  return (bright + 0.05) / (dark + 0.05);
}
