import { preloadedStoreTests } from './preloaded-store.ts';

preloadedStoreTests('26.1');
