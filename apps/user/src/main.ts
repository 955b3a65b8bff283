import { runService } from '@sluice/service';
import { userService } from './user.service.js';

await runService(() => userService());
