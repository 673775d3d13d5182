import { readFileSync } from 'node:fs';
import path from 'node:path';
import { inflateSync } from 'node:zlib';
import { execa } from 'execa';
import { ensureDebianPackages } from './debian-packages.ts';
import { tempTree } from './temp-tree.ts';

type ColourScheme = 'dark' | 'light';

/** Debian's chromium without a window. */
export interface Chromium {
  /** Opens a page, lets its scripts run, and returns what is then in it. */
  dom(file: string, scheme: ColourScheme): Promise<string>;
  screenshot(
    file: string,
    scheme: ColourScheme,
    size: { readonly width: number; readonly height: number },
  ): Promise<Picture>;
}

/** Pixels by their place. */
interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue, as `#rrggbb`. */
  at(x: number, y: number): string;
}

export async function chromium(): Promise<Chromium> {
  await ensureDebianPackages(['chromium', 'fonts-dejavu-core'], { install: true });
  const { path: folder } = await tempTree('dpl-chromium');
  const run = async (scheme: ColourScheme, ...args: readonly string[]): Promise<string> => {
    // The sandbox does not work for root.
    const { stdout } = await execa(
      'chromium',
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--hide-scrollbars',
        '--force-device-scale-factor=1',
        '--no-first-run',
        `--user-data-dir=${folder}/profile`,
        `--blink-settings=preferredColorScheme=${scheme === 'dark' ? 0 : 1}`,
        ...args,
      ],
      { timeout: 120_000, stdin: 'ignore', env: { HOME: folder } },
    );
    return stdout;
  };
  return {
    dom: (file, scheme) => run(scheme, '--dump-dom', `file://${file}`),
    screenshot: async (file, scheme, { width, height }) => {
      const png = path.join(folder, 'shot.png');
      await run(scheme, `--window-size=${width},${height}`, `--screenshot=${png}`, `file://${file}`);
      return decodePng(readFileSync(png));
    },
  };
}

/**
 * Decodes what chromium writes: eight bits a channel, three or four channels, not interlaced (PNG, third edition, 9.2
 * filter types).
 */
function decodePng(png: Buffer): Picture {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const channels = png[25] === 6 ? 4 : png[25] === 2 ? 3 : 0;
  if (png[24] !== 8 || channels === 0 || png[28] !== 0)
    throw new Error(`Expected a PNG of RGB or RGBA, found colour type ${png[25] ?? ''}`);
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x < channels ? 0 : (pixels[y * stride + x - channels] ?? 0);
      const up = y === 0 ? 0 : (pixels[(y - 1) * stride + x] ?? 0);
      const corner = x < channels || y === 0 ? 0 : (pixels[(y - 1) * stride + x - channels] ?? 0);
      const predicted =
        filter === 1
          ? left
          : filter === 2
            ? up
            : filter === 3
              ? (left + up) >> 1
              : filter === 4
                ? paeth(left, up, corner)
                : 0;
      pixels[y * stride + x] = (raw[y * (stride + 1) + 1 + x] ?? 0) + predicted;
    }
  }
  return {
    width,
    height,
    at: (x, y) => `#${pixels.toString('hex', (y * width + x) * channels, (y * width + x) * channels + 3)}`,
  };
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
