import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { attach, type LoopDevice } from '../support/loop-device.ts';
import { applyInContainerd, startAgent } from './agent-daemon.ts';
import { makeDisk } from './disks.ts';
import { startContainerd, startDocker, unpackDocker } from './docker.ts';
import { type DemoImage, demoImages, expectImages } from './images.ts';
import { diskUsageBytes, printComparison, printTimeline } from './report.ts';
import { announce, heading, run, say, shellLine, working } from './transcript.ts';

/** The demo with loop devices and a private dockerd on this machine. @param folder where everything is put */
export async function demoOnThisMachine(folder: string): Promise<void> {
  heading('Two images with a common base layer');
  await unpackDocker();
  const images = await working('making the images (once)', demoImages);
  say('Two archives as `docker save` writes them, made by this demo on its first run:');
  await run(['ls', '-lh', ...images.map(({ archive }) => archive)]);

  heading('Two disks, each with one of them');
  // Other disks may be attached to this machine: these labels are taken by nobody else.
  const prefix = `demo-${randomBytes(2).toString('hex')}`;
  const disks = new Map<DemoImage['name'], { readonly label: string; readonly file: string }>();
  for (const image of images) {
    const label = `${prefix}-${image.name}`;
    disks.set(image.name, { label, file: await makeDisk(folder, image, label, 'raw', '--blobs', 'tar') });
  }

  heading('Both are attached, as the guest of a virtual machine sees them');
  const attached = new Map<DemoImage['name'], LoopDevice>();
  for (const [name, { file }] of disks) {
    announce(shellLine(['losetup', '--find', '--show', '--read-only', file]));
    const loop = await attach(file);
    say(`  ${loop.device}`);
    attached.set(name, loop);
  }

  heading('The agent fills an empty data root, before dockerd');
  const guest = path.join(folder, 'guest');
  const dataRoot = path.join(guest, 'data');
  const agent = await startAgent(guest, [`${prefix}-*`]);
  say(`  READY=1 after ${agent.readyMs.toFixed(0)} ms`);
  const timeline = await agent.timeline();
  await agent.command('status');
  say('Each layer is a folder whose `diff` links to a disk; the base layer, which both disks have, is there once:');
  await run(['find', path.join(dataRoot, 'overlay2'), '-name', 'diff', '-type', 'l', '-printf', '%P -> %l\\n']);

  heading('dockerd starts on the result');
  let docker = await startDocker(guest);
  expectImages(await docker.cli('images'), ['demo/node:24', 'demo/python:3.11']);
  for (const { tag, command } of images) await docker.cli('run', '--rm', '--network', 'none', tag, ...command);

  heading('A tag of the user survives a restart of Docker');
  await docker.cli('tag', 'demo/node:24', 'mine/node:today');
  await docker.stop();
  say("docker.service's drop-in runs this before each start of Docker:");
  await agent.command('apply');
  docker = await startDocker(guest);
  expectImages(await docker.cli('images'), ['demo/node:24', 'demo/python:3.11', 'mine/node:today']);

  heading('A disk is detached, and its image goes');
  await docker.stop();
  const preloadedBytes = await diskUsageBytes(dataRoot);
  const python = attached.get('python');
  await run(['umount', path.join(agent.mountRoot, `${prefix}-python`)]);
  announce(shellLine(['losetup', '--detach', python?.device ?? '']));
  await python?.detach();
  await agent.command('apply');
  docker = await startDocker(guest);
  expectImages(await docker.cli('images'), ['demo/node:24', 'mine/node:today']);
  await docker.cli('run', '--rm', '--network', 'none', 'mine/node:today', 'node', '--print', '"still here"');
  await docker.stop();
  await agent.stop();

  heading("The same disks and a Docker with its images in containerd's store, as a fresh Docker 29 has them");
  announce(shellLine(['losetup', '--find', '--show', '--read-only', disks.get('python')?.file ?? '']));
  say(`  ${(await attach(disks.get('python')?.file ?? '')).device}`);
  const inContainerd = path.join(folder, 'containerd');
  await mkdir(inContainerd);
  const containerd = await startContainerd(inContainerd);
  await applyInContainerd(inContainerd, [`${prefix}-*`], containerd.address);
  docker = await startDocker(inContainerd, containerd);
  expectImages(await docker.cli('images'), ['demo/node:24', 'demo/python:3.11']);
  for (const { tag, command } of images) await docker.cli('run', '--rm', '--network', 'none', tag, ...command);
  await docker.stop();
  await containerd.stop();
  await containerd.end();

  heading('For comparison: docker load of the same images into an empty Docker');
  const other = path.join(folder, 'load');
  await mkdir(other);
  docker = await startDocker(other);
  const start = performance.now();
  for (const { archive } of images) await docker.cli('load', '--input', archive);
  const loadMs = performance.now() - start;
  await docker.stop();

  heading('The result');
  say('The agent from its first phase to READY=1 (GET /v1/status):');
  printTimeline(timeline);
  say('');
  printComparison({
    readyMs: agent.readyMs,
    loadMs,
    preloadedBytes,
    loadedBytes: await diskUsageBytes(path.join(other, 'data')),
  });
}
