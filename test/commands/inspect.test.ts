import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { inspectionTable } from '../../agent/commands/inspect.ts';
import { widthOf } from '../../agent/text/terminal.ts';

const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;
const layer = (digit: string, sizeBytes: number): Inspection['layers'][number] => ({
  chainId: digestOf(digit),
  diffId: digestOf(digit),
  parent: null,
  cacheId: digit.repeat(64),
  sizeBytes,
  usedBy: 1,
});
const found: Inspection = {
  format: 'qcow2',
  filesystem: 'ext4',
  label: 'dpl-a',
  uuid: null,
  sizeBytes: 2_500_000,
  readAhead: null,
  blobs: { count: 0, bytes: 0 },
  sharedBytes: 0,
  deep: false,
  problems: [],
  manifest: {
    digest: digestOf('c'),
    formatVersion: '1.0',
    createdBy: 'docker-preloader \u001b[31m',
    priority: 0,
    bases: [],
  },
  signature: { fingerprint: 'SHA256:abc', key: 'AAAA' },
  images: [
    {
      id: digestOf('d'),
      references: ['registry.example.com/team/service:1.2.3', 'service:latest'],
      layers: [digestOf('a'), digestOf('b')],
      sizeBytes: 2_001_000,
      targets: [],
    },
    { id: digestOf('e'), references: [], layers: [digestOf('a')], sizeBytes: 2_000_000, targets: [] },
  ],
  layers: [layer('a', 2_000_000), layer('b', 1000)],
};

describe('the tables of `inspect`', () => {
  it('have a line for each name, and one for each layer, with whole digests for a program', () => {
    const lines = inspectionTable(found, { columns: undefined, color: false }).split('\n');
    assert.deepEqual(lines, [
      'label dpl-a, ext4 in qcow2, 2.5 MB',
      `manifest ${digestOf('c')}, format 1.0, priority 0, by docker-preloader \\x1b[31m`,
      'signed by SHA256:abc',
      '',
      `IMAGE                                    ID${' '.repeat(71)}LAYERS  SIZE HERE`,
      `registry.example.com/team/service:1.2.3  ${digestOf('d')}  2       2.0 MB`,
      `service:latest                           ${digestOf('d')}  2       2.0 MB`,
      `<none>                                   ${digestOf('e')}  1       2.0 MB`,
      '',
      `LAYER${' '.repeat(68)}SIZE    IMAGES`,
      `${digestOf('a')}  2.0 MB  1`,
      `${digestOf('b')}  1 kB    1`,
      '',
      '2 images, 2 layers, 0 kB of them shared',
      '',
    ]);
  });

  it('say how many layers of each image have a blob, where the disk has any', () => {
    const [first, second] = found.images;
    assert.ok(first !== undefined && second !== undefined);
    const target = { digest: digestOf('f'), references: [], blobs: [digestOf('1'), null] };
    const text = inspectionTable(
      {
        ...found,
        blobs: { count: 1, bytes: 3_000_000 },
        images: [{ ...first, targets: [target, { ...target, blobs: [null, null] }] }, second],
      },
      { columns: undefined, color: false },
    );
    assert.match(text, /^for containerd's store: 3\.0 MB in 1 blob of layers$/m);
    assert.match(text, / {2}LAYERS {2}BLOBS {2}SIZE HERE$/m);
    assert.match(text, /^service:latest +sha256:d+ {2}2 {7}1 {6}2\.0 MB$/m);
    assert.match(text, /^<none> +sha256:e+ {2}1 {7}0 {6}2\.0 MB$/m);
  });

  it('fit into a terminal, where digests are short', () => {
    for (const columns of [40, 60, 80, 120]) {
      const text = inspectionTable(found, { columns, color: false });
      // A digest stays whole, so that it can be copied.
      for (const line of text.split('\n').filter((one) => !one.includes(digestOf('c'))))
        assert.ok(widthOf(line) <= columns, `${columns}: ${line}`);
      assert.match(text, /^a{12} {2}2\.0 MB {2}1$/m);
      assert.match(text, /^registry\.example\.com\S* .* {2}2\.0 MB$|^registry\.example\.com\S* {2}2\.0 MB$/m);
      if (columns >= 80) assert.match(text, /^service:latest {27}d{12} {2}2 {7}2\.0 MB$/m);
    }
  });

  it('have the styles of a terminal in their headers alone', () => {
    const text = inspectionTable(found, { columns: 80, color: true });
    assert.equal(text.split('\u001b[1m').length - 1, 7);
  });
});
