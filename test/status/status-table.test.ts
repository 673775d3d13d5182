import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from '../support/properties.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { statusTable } from '../../agent/status/status-table.ts';
import { widthOf } from '../../agent/text/terminal.ts';
import { aRun, finding, foundDisk, later } from './a-run.ts';

const pipe = { columns: undefined, color: false };
const hostile = '\u001b[2J\u001b]0;x\u0007\u202e\r\n漢字👩‍👩‍👧é';

function busy(t: Parameters<typeof aRun>[0]): StatusDocument {
  const run = aRun(t, {
    applied: false,
    findings: [
      finding('DISK_DIRTY', 'disk dpl-x: why', { label: 'dpl-x', device: '/dev/vdx' }),
      finding('TAG_CONFLICT', 'app:\u001b[31m1'),
    ],
    candidates: [foundDisk('dpl-x', 'vdx')],
  });
  return statusDocument(run, later(run, 42));
}

describe('the table of `status`', () => {
  it('tells the whole at a glance', (t) => {
    const lines = statusTable(busy(t), pipe).split('\n');
    // What is told below is not told on top.
    assert.match(
      lines[0] ?? '',
      /^degraded: 1 disk, 1 image, 2 layers, \d+ changes pending: run systemctl restart docker, 42 ms$/,
    );
    assert.match(
      lines[1] ?? '',
      /^ready since \d{4}-.*; agent \d\S*, format 1\.\d, dockerd unknown; store \/var\/lib\/docker$/,
    );
    const at = (start: string): number => lines.findIndex((line) => line.startsWith(start));
    assert.match(
      lines[at('DISK ')] ?? '',
      /^DISK {3}STATE {4}DEVICE {4}TYPE {3}SIZE {2}IMAGES {2}LAYERS {2}MOUNTED ON$/,
    );
    assert.match(lines[at('dpl-a')] ?? '', /^dpl-a {2}pending {2}\/dev\/vdb {2}erofs {2}9 kB {2}1 {7}2 {7}\//);
    assert.match(lines[at('dpl-x')] ?? '', /^dpl-x {2}refused {2}\/dev\/vdx {2}erofs {2}9 kB {2}0 {7}0 {7}DISK_DIRTY$/);
    assert.match(lines[at('IMAGE ')] ?? '', /^IMAGE {2}ID {12}DISK {3}USABLE$/);
    assert.match(lines[at('app:1')] ?? '', /^app:1 {2}[0-9a-f]{12} {2}dpl-a {2}no: PENDING$/);
    assert.ok(lines.includes('DISK_DIRTY: disk dpl-x: why'));
    assert.ok(lines.includes('TAG_CONFLICT: app:\\x1b[31m1'));
    assert.ok(lines.some((line) => line.startsWith('pending: link layer')));
  });

  it('tells who has signed the disks, where that was asked', (t) => {
    const status = busy(t);
    const signedBy = `SHA256:${'k'.repeat(43)}`;
    const disks = status.disks.map((disk, index) => ({ ...disk, signedBy: index === 0 ? signedBy : null }));
    const lines = statusTable({ ...status, disks }, pipe).split('\n');
    const line = (start: string): string => lines.find((one) => one.startsWith(start)) ?? '';
    assert.match(line('DISK '), /MOUNTED ON +SIGNED BY$/);
    assert.ok(line('dpl-a').endsWith(`  ${signedBy}`));
    assert.match(line('dpl-x'), / DISK_DIRTY +-$/);
    assert.doesNotMatch(statusTable(status, pipe), /SIGNED BY/);
  });

  it('is short where there is nothing to tell', (t) => {
    const status = {
      ...busy(t),
      state: 'empty',
      summary: 'empty: nothing',
      disks: [],
      images: [],
      findings: [],
      pending: [],
    } as const;
    assert.equal(statusTable(status, pipe).trimEnd().split('\n').length, 2);
  });

  it('does not list a thousand changes', (t) => {
    const text = statusTable({ ...busy(t), pending: Array.from({ length: 1000 }, (_, step) => `step ${step}`) }, pipe);
    assert.equal(text.match(/^pending: /gm)?.length, 11);
    assert.match(text, /^pending: 990 more; docker-preloader plan lists all$/m);
  });

  it('has colours on a terminal, which change nothing else', (t) => {
    const status = busy(t);
    const [plain, colored] = [false, true].map((color) => statusTable(status, { columns: 200, color })) as [
      string,
      string,
    ];
    assert.equal(stripVTControlCharacters(colored), plain);
    assert.ok(colored.startsWith('\u001b[33mdegraded'));
    assert.ok(colored.includes('\u001b[31mrefused\u001b[39m'));
  });

  it('fits into a terminal of any width, and sends it nothing to obey, whatever names are on a disk', (t) => {
    const status = busy(t);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), fc.integer({ min: 70, max: 160 }), (name, columns) => {
        const odd = name + hostile;
        const text = statusTable(
          {
            ...status,
            disks: status.disks.map((disk) => ({ ...disk, label: odd, mountPoint: `/run/${odd}` })),
            images: [
              {
                id: odd,
                references: [odd, odd],
                disk: odd,
                usable: false,
                code: 'IMAGE_INVALID',
                reason: odd,
                dockerReferences: [],
              },
            ],
            findings: [],
            pending: [],
          },
          { columns, color: false },
        );
        // oxlint-disable-next-line no-control-regex -- none may be left
        assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
        for (const line of text.split('\n').slice(2))
          assert.ok(widthOf(line) <= columns, `${widthOf(line)} cells in ${columns}: ${line}`);
      }),
      { numRuns: 50 },
    );
  });

  it('cuts the mount path first, and leaves out what is of less use than label, state and device', (t) => {
    const status = busy(t);
    const [disk] = status.disks;
    assert.ok(disk);
    const named = {
      ...status,
      disks: [
        {
          ...disk,
          label: 'dpl-images-2026b',
          device: '/dev/loop21',
          mountPoint: '/run/docker-preloader/disks/dpl-images-2026b',
        },
      ],
    };
    for (let columns = 40; columns <= 140; columns += 1) {
      const line = statusTable(named, { columns, color: false })
        .split('\n')
        .find((text) => text.startsWith('dpl-images'));
      assert.match(line ?? '', /^dpl-images-2026b {2}pending {2}\/dev\/loop21(  |$)/, `${columns}: ${line}`);
      if (columns >= 118) assert.match(line ?? '', /\/run\/docker-preloader\/disks\/dpl-images-2026b$/);
    }
    const at80 = statusTable(
      { ...named, disks: [{ ...disk, label: 'dpl-a', mountPoint: '/run/docker-preloader/disks/dpl-a' }] },
      { columns: 80, color: false },
    );
    assert.match(at80, /^dpl-a {2}pending {2}\/dev\/vdb {2}erofs .* {2}….*\/disks\/dpl-a$/m);
  });

  it('tells of an image by its name, however narrow, and how many of its names dockerd has', (t) => {
    const status = busy(t);
    const image = {
      id: `sha256:${'a'.repeat(64)}`,
      references: ['registry.example.com/team/service:1.2.3', 'service:2'],
      disk: 'dpl-images-2026b',
      usable: true,
      code: null,
      reason: null,
      dockerReferences: ['mine:1', 'service:2'],
    };
    const lineAt = (columns: number | undefined, change: Partial<typeof image> = {}): string | undefined =>
      statusTable({ ...status, images: [{ ...image, ...change }] }, { columns, color: false })
        .split('\n')
        .find((line) => line.startsWith('registry'));
    assert.match(
      lineAt(undefined) ?? '',
      /^registry.example.com\/team\/service:1.2.3, service:2 {2}a{12} {2}dpl-images-2026b {2}yes: 1 of 2 names$/,
    );
    assert.match(lineAt(60) ?? '', /^registry.example.c\S*… {2}dpl-images-2026b {2}yes: 1 of 2 names$/);
    const usable = { dockerReferences: image.references };
    assert.match(lineAt(40, usable) ?? '', /^registry\S*… {2}dpl-images-2026b {2}yes$/);
    assert.match(lineAt(undefined, { dockerReferences: image.references }) ?? '', / {2}yes$/);
    assert.match(statusTable({ ...status, images: [{ ...image, dockerReferences: null }] }, pipe), / {2}yes$/m);
  });

  it('is aligned by cells, not by characters', (t) => {
    const status = busy(t);
    const [image] = status.images;
    assert.ok(image);
    const text = statusTable(
      {
        ...status,
        images: [
          { ...image, references: ['漢字:1'] },
          { ...image, references: ['e\u0301:1'] },
          { ...image, references: ['abcdef:1'] },
        ],
        pending: [],
      },
      pipe,
    );
    const starts = text
      .split('\n')
      .filter((line) => line.includes(image.id.slice(7, 19)))
      .map((line) => widthOf(line.slice(0, line.indexOf(image.id.slice(7, 19)))));
    assert.deepEqual(starts, ['abcdef:1'.length + 2, 'abcdef:1'.length + 2, 'abcdef:1'.length + 2]);
  });
});
