import { hexOf } from '../../docker/ids.ts';
import { targetOf } from '../own-records.ts';
import type { Step } from './namespace-steps.ts';

/** A change of a namespace, in one line. */
export function describeStep(namespace: string, step: Step): string {
  return `containerd, ${namespace}: ${textOf(step)}`;
}

function textOf(step: Step): string {
  switch (step.do) {
    case 'make-layer':
      return `link layer ${short(step.chain)} of disk ${step.disk}`;
    case 'mend-link':
      return `link ${step.path} again`;
    case 'write-content':
      return `add ${step.content.length} bytes of ${short(step.digest)}`;
    case 'link-blob':
      return `link blob ${short(step.digest)}`;
    case 'label-content':
      return `label ${short(step.digest)}, so that it is kept`;
    case 'create-image':
      return `add image ${step.image.name}`;
    case 'replace-image':
      return `let ${step.image.name} name ${short(step.image.target.digest)} instead of ${short(targetOf(step.before))}`;
    case 'delete-image':
      return `remove image ${step.before.name}`;
    case 'delete-lease':
      return `remove lease ${step.id} of a run that was killed`;
  }
}

function short(digest: string): string {
  return hexOf(digest).slice(0, 12);
}
