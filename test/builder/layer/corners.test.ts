import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { ByteReader } from '../../../agent/streams/byte-reader.ts';
import { BlockWriter } from '../../../agent/builder/filesystem/block-writer.ts';
import { Spool } from '../../../agent/streams/spool.ts';
import { unpackLayer } from '../../../agent/builder/layer/unpack-layer.ts';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { startDockerd } from '../../support/dockerd.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { digestOf, savedArchive } from '../archive/archives.ts';
import { likeVersion, refusedCorners, takenCorners } from './corner-layers.ts';
import { makeTar } from '../tar/make-tar.ts';
import { treeFacts } from '../tree-facts.ts';

describe('layers at the edges of what dockerd takes', () => {
  let tree: TempTree;
  const names = Object.keys(takenCorners);
  const tag = (name: string): string => `corner:${names.indexOf(name)}`;
  const layerOf = (name: string): Buffer => makeTar(takenCorners[name] ?? refusedCorners[name] ?? []);
  const archiveOf = (few: readonly string[]): Buffer =>
    savedArchive(few.map((name) => ({ tags: [tag(name)], layers: [layerOf(name)] })));
  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'python3'], { install: true });
    tree = await tempTree('dpl-corners');
  });
  after(cleanUpAll);

  /** The tree of a layer below a data root; times of what dockerd gives none are of the moment. */
  async function factsOf(root: string, name: string): Promise<unknown> {
    const cacheId = readFileSync(
      path.join(root, 'image/overlay2/layerdb/sha256', digestOf(layerOf(name)), 'cache-id'),
      'utf8',
    ).trim();
    const facts = await treeFacts(path.join(root, 'overlay2', cacheId, 'diff'));
    return Object.fromEntries(
      Object.entries(facts).map(([file, fact]) => {
        const isWhiteout = fact['mode'] === '0o20000' && fact['device'] === 0;
        const isNow = Number(fact['mtime']) > 1.7e18 && Number(fact['mtime']) < 9e18;
        return [file, isWhiteout || isNow || fact['mtime'] === 0 ? { ...fact, mtime: 'unset' } : fact];
      }),
    );
  }

  it('are built into the trees that dockerd makes of them, and refused where it refuses them', async () => {
    const archive = path.join(tree.path, 'taken.tar');
    writeFileSync(archive, archiveOf(names));
    const built = await agent(['build', archive, '-o', path.join(tree.path, 'built.ext4'), '--format', 'raw']);
    assert.equal(built.exitCode, 0, built.all);
    const checked = await execa('e2fsck', ['-fn', path.join(tree.path, 'built.ext4')], { reject: false, all: true });
    assert.equal(checked.exitCode, 0, checked.all);
    const inspected = await agent(['inspect', '--deep', path.join(tree.path, 'built.ext4')]);
    assert.equal(inspected.exitCode, 0, inspected.all);
    const mounted = path.join(tree.path, 'mounted');
    mkdirSync(mounted);
    await execa('mount', ['-o', 'loop,ro', path.join(tree.path, 'built.ext4'), mounted]);
    for (const version of ['26.1', '28.5'] as const) {
      const like = (name: string): boolean => (likeVersion[name] ?? version) === version;
      const dataRoot = path.join(tree.path, version);
      mkdirSync(dataRoot);
      const dockerd = await startDockerd({ version, dataRoot });
      const load = async (file: string, content: Buffer): Promise<string> => {
        writeFileSync(path.join(tree.path, file), content);
        return await dockerd.cli(['load', '--input', path.join(tree.path, file)], undefined, { all: true });
      };
      const here = names.filter(like);
      await load('here.tar', archiveOf(here));
      for (const name of here)
        assert.deepEqual(await factsOf(mounted, name), await factsOf(dataRoot, name), `${name}, dockerd ${version}`);
      for (const name of Object.keys(refusedCorners).filter(like)) {
        await assert.rejects(
          load('one.tar', savedArchive([{ tags: ['refused:1'], layers: [layerOf(name)] }])),
          Error,
          `${name}, dockerd ${version}`,
        );
      }
      await dockerd.stop();
    }
  });

  for (const [name, entries] of Object.entries(refusedCorners)) {
    it(`refuses ${name}, in one line`, async () => {
      const store = new BlockWriter(path.join(tree.path, `${digestOf(Buffer.from(name))}.disk`), 'raw');
      const source = async function* (): AsyncGenerator<Buffer> {
        yield makeTar(entries);
      };
      await assert.rejects(
        unpackLayer(new ByteReader(source()), store, new Spool(() => '/nowhere/tar-split')),
        (error: Error) => {
          assert.match(error.message, /expected.*found/);
          // oxlint-disable-next-line no-control-regex -- none may be left
          assert.doesNotMatch(error.message, /[\u0000-\u001f]/);
          return true;
        },
      );
      store.close();
    });
  }
});
