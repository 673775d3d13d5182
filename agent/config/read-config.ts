import { messageAt, shownPath } from '../system/errors.ts';
import { readConfiguration } from '../system/files.ts';
import { realPathOf } from '../system/real-path.ts';
import { configInvalid, DEFAULT_CONFIG_PATH, defaultConfig, type Config } from './config.ts';

/**
 * Reads the configuration. If there is no file, all defaults apply, and what parses one is not loaded.
 * @throws PreloaderError CONFIG_INVALID naming the key
 */
export async function readConfig(path: string = DEFAULT_CONFIG_PATH): Promise<Config> {
  let bytes: Buffer | undefined;
  try {
    bytes = readConfiguration(path);
  } catch (error) {
    throw configInvalid(messageAt(path, error), error);
  }
  // A file that somebody has named must exist. The default one need not.
  if (bytes === undefined && path !== DEFAULT_CONFIG_PATH)
    throw configInvalid(`${shownPath(path)}: expected a configuration file, found none`);
  if (bytes === undefined) return resolved(defaultConfig());
  const { parseConfig } = await import('./parse-config.ts');
  try {
    return resolved(parseConfig(bytes.toString('utf8').replace(/^\uFEFF/, '')));
  } catch (error) {
    throw configInvalid(messageAt(path, error), error);
  }
}

/**
 * Resolves symlinks in the mount root. The kernel lists mounts without them, and links in the store must not depend on
 * them.
 */
function resolved(config: Config): Config {
  return { ...config, mountRoot: realPathOf(config.mountRoot) };
}
