import { storiesOn } from './stories.ts';

storiesOn('20.10');
storiesOn('26.1');
