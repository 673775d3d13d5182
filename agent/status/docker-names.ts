import type { Preload } from '../boot/preload.ts';
import type { ImageID } from '../docker/ids.ts';

/** The names that dockerd has for each image, as they were found or as the run has left them. */
export function dockerNames({ plan, store, applied }: Preload): Map<ImageID, string[]> {
  const references = new Map<string, ImageID | undefined>(store?.references);
  if (applied)
    for (const step of plan?.steps ?? [])
      if (step.do === 'write-references') for (const [name, id] of step.changes) references.set(name, id);
  const names = new Map<ImageID, string[]>();
  for (const [name, id] of references) {
    if (id === undefined) continue;
    const others = names.get(id);
    if (others === undefined) names.set(id, [name]);
    else others.push(name);
  }
  return names;
}
