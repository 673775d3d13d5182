import type { Preload } from '../boot/preload.ts';
import { describeStep } from '../containerd/plan/describe-step.ts';
import type { NamespacePlan } from '../containerd/plan/plan-namespace.ts';
import type { Finding } from '../messages/finding.ts';
import { plural } from '../text/plural.ts';

/** This many differences of a namespace are told. */
const MAX_DIFFERENCES = 20;

/** How containerd's namespaces differ from the disks, one finding for each difference. */
export function namespaceDifferences({ containerd }: Preload): Finding[] {
  if (containerd?.state === 'waiting')
    return [
      {
        code: 'STORE_DIFFERS',
        message: `containerd at ${containerd.address}: expected one that runs, found none: its store was not compared; run: systemctl start containerd`,
      },
    ];
  const { plans = [], farmChanges = 0 } = containerd ?? {};
  const ofFarm: Finding = {
    code: 'STORE_DIFFERS',
    message: `${plural(farmChanges, 'link')} to the disks' layers and blobs ${farmChanges === 1 ? 'is' : 'are'} missing or lead${farmChanges === 1 ? 's' : ''} elsewhere, so that images of containerd may not run; run: docker-preloader apply`,
  };
  // What a disk that came or went changes in the namespaces changes its links as well.
  const isOfFarm = farmChanges > 0 && plans.every(({ steps }) => steps.length === 0);
  return [...(isOfFarm ? [ofFarm] : []), ...plans.flatMap(namespaceFindings)];
}

function namespaceFindings({ namespace, steps, taken }: NamespacePlan): Finding[] {
  const damaged = taken.map((path): Finding => ({
    code: 'STORE_DAMAGED',
    message: `containerd, ${namespace}: ${path}: expected a link of ours, found something else, which is left there; move it away, then run: docker-preloader apply`,
  }));
  const due = steps.map((step): Finding => ({
    code: 'STORE_DIFFERS',
    message: `${describeStep(namespace, step)} is still to be done; run: docker-preloader apply`,
  }));
  const found = [...damaged, ...due].slice(0, MAX_DIFFERENCES);
  const more = damaged.length + due.length - found.length;
  return more === 0
    ? found
    : [
        ...found,
        { code: 'STORE_DIFFERS', message: `containerd, ${namespace}: and ${plural(more, 'more difference')}` },
      ];
}
