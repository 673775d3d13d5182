import path from 'node:path';
import type { FakeGuest } from '../boot/fake-guest.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { readTree } from '../support/tree.ts';

export const app: ImageSpec = {
  layers: ['base', 'app'],
  references: ['app:1', 'app:latest'],
  source: 'docker.io/library/app',
};
export const app2: ImageSpec = {
  layers: ['base', 'app 2'],
  references: ['app:latest'],
  source: 'docker.io/library/app',
};
export const tool: ImageSpec = { layers: ['base', 'tool'], references: ['tool:1', 'tool:2'] };
export const mine: ImageSpec = { layers: ['mine'], references: ['mine:1', 'tool:1'] };
export const built: ImageSpec = { layers: ['base', 'app', 'built on it'], references: ['built:1'] };

/** Gives the guest what must never be lost. */
export function withUser(guest: FakeGuest): void {
  loadImages(guest.dataRoot, [mine]);
}

/** The data root, without where in the machine it lies. */
export function tree(guest: FakeGuest): Map<string, string> {
  const root = path.dirname(guest.dataRoot);
  return new Map([...readTree(guest.dataRoot)].map(([file, kind]) => [file, kind.replaceAll(root, '')]));
}
