import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

const mib = 1024 * 1024;
/** What a disk may take beyond its layer. */
const OVERHEAD_BYTES = 5 * mib;

describe('a disk that stands on another', () => {
  let site: Site;
  let base: string;
  let upper: string;
  let layerBytes = 0;
  let baseLabel = '';

  before(async () => {
    site = await makeSite('20.10');
    const common = [...(await busyboxRoot()), { name: 'big', content: randomBytes(20 * mib) }];
    const changed = [{ name: 'changed', content: randomBytes(2 * mib) }];
    layerBytes = 2 * mib;
    const tree = await tempTree('dpl-base');
    base = path.join(tree.path, 'base.ext4');
    upper = path.join(tree.path, 'upper.ext4');
    const build = async (
      output: string,
      tag: string,
      layers: Parameters<typeof dockerArchive>[0][number]['layers'],
      ...args: readonly string[]
    ): Promise<void> => {
      const archive = `${output}.tar`;
      writeFileSync(archive, await dockerArchive([{ tags: [tag], layers }]));
      const { exitCode, all } = await agent(['build', archive, '-o', output, '--format', 'raw', ...args]);
      assert.equal(exitCode, 0, all);
    };
    await build(base, 'base:1', [common]);
    await build(upper, 'upper:1', [common, changed], '--base', base);
    const { stdout } = await agent(['inspect', '--json', base]);
    baseLabel = (JSON.parse(stdout) as { label: string }).label;
  });
  after(cleanUpAll);

  it('holds what has changed and little more', () => {
    assert.ok(
      statSync(upper).size <= layerBytes + OVERHEAD_BYTES,
      `expected at most ${layerBytes + OVERHEAD_BYTES} bytes, found ${statSync(upper).size}`,
    );
    assert.ok(statSync(base).size > 20 * mib);
  });

  it('alone is left out, and the agent names the disk that it stands on', async () => {
    await site.attach(upper);
    const { all } = await site.apply(3);
    assert.match(
      all,
      new RegExp(
        `image upper:1 is left out: 1 of its 2 layers is missing .*; attach disk ${baseLabel}, which has them`,
      ),
    );
  });

  it('runs with it, and is listed no more without it', async () => {
    await site.attach(base);
    await site.apply();
    const dockerd = await site.start();
    assert.equal(
      await dockerd.cli(['run', '--rm', '--network', 'none', 'upper:1', 'sh', '-c', 'wc -c < /big; wc -c < /changed']),
      `${20 * mib}\n${2 * mib}`,
    );
    await dockerd.stop();
    await site.detach(base);
    await site.apply(3);
    const again = await site.start();
    assert.equal(await again.cli(['images', '--quiet']), '');
    await again.stop();
  });
});
