import { gzipSync } from 'node:zlib';
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts';
import { commandPage, configPage } from './man-pages.ts';
import type { TreeFile } from '../deb/folder-content.ts';

/**
 * Man pages and shell completions. They are made together with the package, so that they match the `--help` and the
 * options of this version.
 * @param date the date of the pages
 */
export function documentation(date: Date): TreeFile[] {
  const file = (path: string, content: string): TreeFile => ({ path, mode: 0o644, content: Buffer.from(content) });
  const page = (path: string, content: string): TreeFile => ({
    path: `${path}.gz`,
    mode: 0o644,
    content: gzipSync(content, { level: 9 }),
  });
  return [
    page('usr/share/man/man8/docker-preloader.8', commandPage(date)),
    page('usr/share/man/man5/docker-preloader-config.5', configPage(date)),
    file('usr/share/bash-completion/completions/docker-preloader', bashCompletion()),
    file('usr/share/zsh/vendor-completions/_docker-preloader', zshCompletion()),
    file('usr/share/fish/vendor_completions.d/docker-preloader.fish', fishCompletion()),
  ];
}
