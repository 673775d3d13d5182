import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Writes a file so that it appears complete under its name, even while an older one is being read or run. */
export function writeWhole(file: string, content: Uint8Array, mode = 0o644): void {
  const temporary = mkdtempSync(path.join(path.dirname(file), '.write-'));
  try {
    writeFileSync(path.join(temporary, 'file'), content, { mode });
    renameSync(path.join(temporary, 'file'), file);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
