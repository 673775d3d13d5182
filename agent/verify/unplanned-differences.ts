import { join } from 'node:path';
import { findHiddenMounts } from '../boot/present-mounts.ts';
import type { ChainID } from '../docker/ids.ts';
import { parseImageConfig } from '../docker/image-config.ts';
import { TAR_SPLIT } from '../docker/layer-db.ts';
import { ownCacheId, pinName } from '../docker/layer-folders.ts';
import type { Finding } from '../messages/finding.ts';
import { resultProblems } from '../overlay2/check-result.ts';
import { isCopyOf } from '../overlay2/store/copy-tar-split.ts';
import { ledgerFolder } from '../overlay2/store/ledger.ts';
import { messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import type { Compared, DifferenceFindings } from './difference-findings.ts';
import type { PlanDifferences } from './plan-differences.ts';

/** Disks that dockerd would not find behind the links, which it follows in the mount namespace of PID 1. */
export function hiddenMounts({ store, plan, disks }: Compared, findings: DifferenceFindings): Finding[] {
  const linked = disks.filter(({ path }) =>
    [...plan.content.layers.keys()].some((chain) => store.layers.own(chain).diff?.startsWith(`${path}/`) === true),
  );
  return findHiddenMounts(linked).map(({ label = '' }) =>
    findings.damaged(`disk ${label} is not mounted where dockerd looks for its layers`, { label }),
  );
}

/** Checks everything that no step of the plan changes, and compares it with the contents of the disks. */
export function contentDifferences(
  compared: Compared,
  planned: PlanDifferences,
  findings: DifferenceFindings,
): Finding[] {
  const { store, plan } = compared;
  const settled = <Key extends string, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> =>
    new Map([...map].filter(([key]) => planned.settled.has(key)));
  const content = {
    layers: settled(plan.content.layers),
    images: settled(plan.content.images),
    references: settled(plan.content.references),
  };
  const problems = resultProblems(store, { content, kept: plan.kept, pinned: new Set() });
  return [
    ...problems.map((problem) => findings.damaged(problem)),
    ...[...content.layers.keys()].flatMap((chain) => tarSplitDifferences(compared, chain, findings)),
    ...pinDifferences(compared, planned, findings),
    ...configDifferences(compared, planned, findings),
  ];
}

function tarSplitDifferences({ store, plan }: Compared, chain: ChainID, findings: DifferenceFindings): Finding[] {
  const { diff } = store.layers.own(chain);
  const source = plan.offer.layers.get(chain)?.find((layer) => layer.diffPath === diff);
  if (source?.tarSplit === undefined) return [];
  const { label, tarSplit } = source;
  const file = join(store.paths.layer(chain), TAR_SPLIT);
  if (isCopyOf(file, { ...tarSplit, digest: undefined, label })) return [];
  const what = `layer ${chain} of disk ${label}: ${file}: expected the same as on the disk, found another`;
  return [findings.toReplace(what, file, { label })];
}

function pinDifferences(
  { store, plan }: Compared,
  { unpinned }: PlanDifferences,
  findings: DifferenceFindings,
): Finding[] {
  return [...plan.pinned]
    .filter((chain) => !unpinned.has(chain) && !store.mounts.hasPin(chain, true))
    .map((chain) => {
      const pin = store.paths.mount(pinName(chain));
      return findings.toReplace(
        `layer ${chain}: ${pin}: expected a pin that dockerd can read, found another`,
        `-r ${pin}`,
      );
    });
}

function configDifferences(
  { store, plan }: Compared,
  { settled }: PlanDifferences,
  findings: DifferenceFindings,
): Finding[] {
  const { images } = plan.content;
  return [...new Set([...images.keys(), ...plan.offer.images.keys()])].flatMap((id) => {
    const bytes = store.readImage(id);
    // A step for it has already told what is wrong.
    if (bytes === undefined || !store.images.has(id) || (images.has(id) && !settled.has(id))) return [];
    try {
      parseImageConfig(bytes, id);
      return [];
    } catch (error) {
      const what = `image ${findings.nameOf(id)}: ${messageOf(error)}`;
      return [findings.toReplace(what, store.paths.image(id), { image: id })];
    }
  });
}

/** Layers with our names that neither the ledger nor the disks know. A pull would believe that they are there. */
export function leftOver({ store, plan, cure }: Compared, findings: DifferenceFindings): Finding[] {
  const removed = new Set(plan.steps.flatMap((step) => (step.do === 'remove-layer' ? [step.chain] : [])));
  const unknown = [...store.layers.recorded].filter(
    (chain) =>
      !plan.content.layers.has(chain) &&
      !removed.has(chain) &&
      readTextIfThere(`${store.paths.layer(chain)}/cache-id`)?.trim() === ownCacheId(chain),
  );
  const unpinned = new Set(plan.steps.flatMap((step) => (step.do === 'unpin-layer' ? [step.chain] : [])));
  const strayPins = store.mounts.pinnedLayers().filter((chain) => !plan.pinned.has(chain) && !unpinned.has(chain));
  const strays = strayPins.map((chain) => {
    const pin = store.paths.mount(pinName(chain));
    return findings.damaged(`layer ${chain}: expected no pin for it, found ${pin}`, {}, `rm -r ${pin}`);
  });
  return [
    ...strays,
    ...unknown.map((chain): Finding => ({
      code: 'STORE_DAMAGED',
      message: `layer ${chain} is in the store, but neither in the ledger nor on a disk; run: rm ${join(ledgerFolder(store.dataRoot), 'ledger.json')} && ${cure}`,
    })),
  ];
}
