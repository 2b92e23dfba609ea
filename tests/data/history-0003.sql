PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0003');
CREATE TABLE host (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	name VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_host PRIMARY KEY (id), 
	CONSTRAINT uq_host_fingerprint UNIQUE (fingerprint)
);
INSERT INTO host VALUES(1,'bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5','example','{"name": "example", "system": "Linux", "machine": "x86_64", "cpus": 2, "memory_gib": 8}');
CREATE TABLE run (
	id INTEGER NOT NULL, 
	flow VARCHAR NOT NULL, 
	flow_run_id VARCHAR, 
	attempt INTEGER NOT NULL, 
	deployment VARCHAR, 
	via VARCHAR NOT NULL, 
	host_id INTEGER NOT NULL, 
	boot_id VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	pid_start BIGINT NOT NULL, 
	code_version VARCHAR NOT NULL, 
	parameters JSON NOT NULL, 
	covariates JSON NOT NULL, 
	status VARCHAR NOT NULL, 
	error VARCHAR, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT fk_run_host_id_host FOREIGN KEY(host_id) REFERENCES host (id), 
	CONSTRAINT uq_run_flow_run_id_attempt UNIQUE (flow_run_id, attempt)
);
INSERT INTO run VALUES(2,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',4467,58918,'0.1.0+gefbed49a8c4c','{"random": "100x2", "suites": ["modern", "classic"], "backends": ["openssl"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 1.73}','completed',NULL,'2026-11-25 10:20:41.563488','2026-11-25 10:20:41.608943');
INSERT INTO run VALUES(3,'encrypt_payloads',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',4467,58918,'0.1.0+gefbed49a8c4c','{"random": "10485760x1", "suites": ["classic"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 1.73}','failed','1 failed: random #1 (suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size)','2026-11-25 10:20:41.647074','2026-11-25 10:20:41.689513');
INSERT INTO run VALUES(4,'run_experiments',NULL,1,NULL,'direct',1,'00000000-0000-0000-0000-000000000002/4026531836',4467,58918,'0.1.0+gefbed49a8c4c','{"experiments": ["race"], "workloads": [], "executors": [], "shapes": ["augmented"], "guards": ["none", "shard"], "workers": [2], "quick": true, "interpreters": ["3.11.7"], "rounds": 2, "seed": 1078069860}','{"kernel": "6.1", "python": "3.11.7", "load_1m": 1.75}','completed',NULL,'2026-11-25 10:20:42.799137','2026-11-25 10:20:46.588683');
CREATE TABLE encryption (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	name_bytes BLOB, 
	kind VARCHAR NOT NULL, 
	size_bytes BIGINT, 
	ciphertext_bytes BIGINT, 
	suite VARCHAR NOT NULL, 
	cipher VARCHAR NOT NULL, 
	digest_algorithm VARCHAR NOT NULL, 
	kdf VARCHAR NOT NULL, 
	iterations INTEGER NOT NULL, 
	salt BLOB, 
	digest BLOB, 
	backend VARCHAR NOT NULL, 
	backend_detail VARCHAR NOT NULL, 
	backend_reason VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	cause VARCHAR, 
	error VARCHAR, 
	started_at DATETIME NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	CONSTRAINT pk_encryption PRIMARY KEY (id), 
	CONSTRAINT fk_encryption_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_encryption_run_id_ordinal UNIQUE (run_id, ordinal)
);
INSERT INTO encryption VALUES(2,2,0,'random #1',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'd222888508731356',X'acbf8606ba34903895c3725fa7a0c058e3a935102720f0416c2b14cadb6ec034','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','asked for','ok',NULL,NULL,'2026-11-25 10:20:41.565896',8996596);
INSERT INTO encryption VALUES(3,2,1,'random #2',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'ef6d006f79e055dd',X'8ccb1dbfc057c0ae5e1d679fee8d100c707094e29b0b52e4e1aac097403eee61','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','asked for','ok',NULL,NULL,'2026-11-25 10:20:41.574908',7419251);
INSERT INTO encryption VALUES(4,2,2,'random #1',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'5b186e18c554fbfd',X'11ad887b863c8204d2ec98729a5d93b8b3711a6b49d1fd8d0337ee86b61fd64c1f726df560fec9058e91438ad3a4c7b380251475ba5d51640d4df137a7014336','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','asked for','ok',NULL,NULL,'2026-11-25 10:20:41.586814',10030816);
INSERT INTO encryption VALUES(5,2,3,'random #2',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'e7a1d5be9e92abc6',X'2cb94d1ae312e68b11fcfc8027021932000c591f2f28d0a3f02833653730c3a5fdfa4029890d5b53e328f30c8646f639a3ba9ed98b6b897e47ab2eab586efc66','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','asked for','ok',NULL,NULL,'2026-11-25 10:20:41.596870',9294606);
INSERT INTO encryption VALUES(6,3,0,'random #1',NULL,'random',10485760,NULL,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,NULL,NULL,'openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','failed','legacy-size','suite classic takes at most 8 MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size','2026-11-25 10:20:41.649160',36679457);
CREATE TABLE stage (
	id INTEGER NOT NULL, 
	encryption_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	program VARCHAR NOT NULL, 
	exit_code INTEGER NOT NULL, 
	wall_ns BIGINT NOT NULL, 
	cpu_ns BIGINT NOT NULL, 
	CONSTRAINT pk_stage PRIMARY KEY (id), 
	CONSTRAINT fk_stage_encryption_id_encryption FOREIGN KEY(encryption_id) REFERENCES encryption (id) ON DELETE CASCADE, 
	CONSTRAINT uq_stage_encryption_id_position UNIQUE (encryption_id, position)
);
INSERT INTO stage VALUES(3,2,0,'openssl enc',0,4929716,4077000);
INSERT INTO stage VALUES(4,2,1,'openssl dgst',0,8064677,3539000);
INSERT INTO stage VALUES(5,3,0,'openssl enc',0,4603273,4136000);
INSERT INTO stage VALUES(6,3,1,'openssl dgst',0,6915615,3496000);
INSERT INTO stage VALUES(7,4,0,'openssl enc',0,9281878,4378000);
INSERT INTO stage VALUES(8,4,1,'openssl dgst',0,9466541,4558000);
INSERT INTO stage VALUES(9,5,0,'openssl enc',0,8879161,4467000);
INSERT INTO stage VALUES(10,5,1,'openssl dgst',0,8750320,3739000);
CREATE TABLE IF NOT EXISTS "case" (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	workload_version VARCHAR(64) NOT NULL, 
	experiment VARCHAR NOT NULL, 
	executor VARCHAR, 
	workload VARCHAR, 
	shape VARCHAR, 
	guard VARCHAR, 
	workers INTEGER NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_case PRIMARY KEY (id), 
	CONSTRAINT uq_case_key_workload_version UNIQUE ("key", workload_version)
);
INSERT INTO "case" VALUES(1,'race/none/augmented/5x1000000','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','race',NULL,NULL,'augmented','none',5,1000000);
INSERT INTO "case" VALUES(2,'race/shard/5x500000','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','race',NULL,NULL,NULL,'shard',5,500000);
INSERT INTO "case" VALUES(3,'ceiling/2x2','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','ceiling',NULL,NULL,NULL,NULL,2,2);
INSERT INTO "case" VALUES(4,'ceiling/1x2','e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a','ceiling',NULL,NULL,NULL,NULL,1,2);
CREATE TABLE interpreter (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	label VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	implementation VARCHAR NOT NULL, 
	gil_build BOOLEAN NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_interpreter PRIMARY KEY (id), 
	CONSTRAINT uq_interpreter_fingerprint UNIQUE (fingerprint)
);
INSERT INTO interpreter VALUES(1,'bfa8823d6607fc3d0f8db14d33631861954ced71d4491fcfb8427e6fbda98fdb','3.11.7','3.11.7','cpython',1,'{"build": "main May  9 2026 07:35:25", "compiler": "GCC 12.2.0", "configure": "''--prefix=/opt/python/3.11.7'' ''--enable-shared'' ''--libdir=/opt/python/3.11.7/lib'' ''LDFLAGS=-L/opt/python/3.11.7/lib -Wl,-rpath,/opt/python/3.11.7/lib'' ''LIBS=-L/opt/python/3.11.7/lib -Wl,-rpath,/opt/python/3.11.7/lib'' ''CPPFLAGS=-I/opt/python/3.11.7/include''", "gil_build": "True", "implementation": "cpython", "implementation_version": "3.11.7", "machine": "x86_64", "pointer_bits": "64", "sha256": "openssl_sha256", "version": "3.11.7"}');
CREATE TABLE sample (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	ordinal INTEGER NOT NULL, 
	case_id INTEGER NOT NULL, 
	interpreter_id INTEGER NOT NULL, 
	round INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	outcome VARCHAR NOT NULL, 
	expected VARCHAR, 
	found VARCHAR, 
	error VARCHAR, 
	wall_ns BIGINT, 
	cpu_ns BIGINT, 
	runq_ns BIGINT, 
	blocked_ns BIGINT, 
	context_switches BIGINT, 
	gil_on BOOLEAN, 
	foreign_share FLOAT, 
	positive_lost BIGINT, 
	negative_lost BIGINT, 
	noisy BOOLEAN NOT NULL, 
	CONSTRAINT pk_sample PRIMARY KEY (id), 
	CONSTRAINT fk_sample_case_id_case FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_sample_interpreter_id_interpreter FOREIGN KEY(interpreter_id) REFERENCES interpreter (id), 
	CONSTRAINT fk_sample_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_sample_run_id_ordinal UNIQUE (run_id, ordinal)
);
INSERT INTO sample VALUES(1,4,0,1,1,0,'2026-11-25 10:20:42.801552','none-observed','5000000','5000000',NULL,297027257,281485000,171576265,829252982,465,1,0.51933785995943126945,2020885,0,1);
INSERT INTO sample VALUES(2,4,1,2,1,0,'2026-11-25 10:20:43.708750','ok','2500000','2500000',NULL,154169365,137565000,109808439,427558390,244,1,0.46194326609569935637,NULL,NULL,1);
INSERT INTO sample VALUES(3,4,2,3,1,0,'2026-11-25 10:20:43.896549','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,273887318,290243000,225670529,17053,72,1,0.45472694795349788421,NULL,NULL,1);
INSERT INTO sample VALUES(4,4,3,4,1,0,'2026-11-25 10:20:44.217776','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,160543453,161866000,280065,0,16,1,0.48985990553145242198,NULL,NULL,0);
INSERT INTO sample VALUES(5,4,100000,2,1,1,'2026-11-25 10:20:44.422652','ok','2500000','2500000',NULL,176527831,165719999,109794838,544838129,299,1,0.4653090678942291003,NULL,NULL,1);
INSERT INTO sample VALUES(6,4,100001,3,1,1,'2026-11-25 10:20:44.634933','ok','1 101 21179 2139079; 1 101 21179 2139079','1 101 21179 2139079; 1 101 21179 2139079',NULL,329249347,330798999,326571211,0,97,1,0.48388215134457679411,NULL,NULL,1);
INSERT INTO sample VALUES(7,4,100002,1,1,1,'2026-11-25 10:20:45.005400','none-observed','5000000','5000000',NULL,299575908,272375000,191262390,905713332,482,1,0.51343414437719070431,1352874,0,1);
INSERT INTO sample VALUES(8,4,100003,4,1,1,'2026-11-25 10:20:46.272829','ok','1 101 21179 2139079','1 101 21179 2139079',NULL,245145093,140455001,107830629,68343,545,1,0.71011624851580934514,NULL,NULL,1);
CREATE TABLE ledger (
	id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	run_id INTEGER NOT NULL, 
	format INTEGER NOT NULL, 
	digests JSON NOT NULL, 
	sealed_at DATETIME NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_ledger PRIMARY KEY (id)
);
INSERT INTO ledger VALUES(1,'sealed',1,1,'{"run": "1 8c565505c89c2b0589f635be73d98657badb440c95720197c8f40edf1cc53ecd", "encryption": "1 1120632a82d26a6273167b5cef13b321b89c9f006342c0e9e37f7b6de49f8f1f", "stage": "2 7aaef9cb4c44264366118b1e96d701651c2da3381393fe4530b1c2c550cddf0d", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-25 10:20:41.511746','c23a68dc5aa4639e35de98f1bd6fc1b3f7577a7f7d709b7feec0f2f6f41e5e02');
INSERT INTO ledger VALUES(2,'sealed',2,1,'{"run": "1 bd9ff4c26a840bb510a14522a21bf2f92df601d93355f052c793d57e12f56aa8", "encryption": "4 4fc89bec15301463f1fd9570af1fd4b7c215405387166b0ac935f53e0c2b996f", "stage": "8 a3cfe575bd164a7aa4c6cd75d07d3465520ccca13a921fc51da3e330b5c7b9d1", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-25 10:20:41.621993','fae0451f4e00e4be4a1ac1b09a3f6416454ac1a5b9b59dece5d8a02e7d696de6');
INSERT INTO ledger VALUES(3,'sealed',3,1,'{"run": "1 dc031d5fedebeac2c69a63f8853639f74f318d913c5a79a3878978a41b037792", "encryption": "1 8a7d662a47189634437308b19cb6a7d4973884b8729a3b2de26bbedb4c007416", "stage": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-25 10:20:41.703922','269bc15f55e12398f72fe2c60bef12baf383e1406fbd75baa1ef1518fe01567e');
INSERT INTO ledger VALUES(4,'sealed',4,1,'{"run": "1 f5210c6f1f345638a1c6ba4f0ea89aa4116320a539d3008cd98c445f91bd005e", "encryption": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "stage": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sample": "8 2144744ad674859b8a1c1332891e3b9817f3588be0b8e1094ba4693ca2ee451e"}','2026-11-25 10:20:46.599972','1333b3fd2ff18e1941f4a7bb9de353f2a615dca136dc9228c1d56274a40b4b91');
INSERT INTO ledger VALUES(5,'removed',1,1,'{"run": "1 8c565505c89c2b0589f635be73d98657badb440c95720197c8f40edf1cc53ecd", "encryption": "1 1120632a82d26a6273167b5cef13b321b89c9f006342c0e9e37f7b6de49f8f1f", "stage": "2 7aaef9cb4c44264366118b1e96d701651c2da3381393fe4530b1c2c550cddf0d", "sample": "0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}','2026-11-25 10:20:46.622203','0e7ac4fdf5bf9d7ebea878d56a5ad453202b0d78bb5023c1b53540ec35a5ed7b');
CREATE TABLE series (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	track VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	host_id INTEGER NOT NULL, 
	case_id INTEGER, 
	interpreter_id INTEGER, 
	suite VARCHAR, 
	backend VARCHAR, 
	size_class BIGINT, 
	CONSTRAINT pk_series PRIMARY KEY (id), 
	CONSTRAINT fk_series_host_id_host FOREIGN KEY(host_id) REFERENCES host (id), 
	CONSTRAINT fk_series_case_id_case FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_series_interpreter_id_interpreter FOREIGN KEY(interpreter_id) REFERENCES interpreter (id), 
	CONSTRAINT uq_series_key UNIQUE ("key")
);
INSERT INTO series VALUES(1,'["modern", "openssl", 128, "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["encryption", "modern", "openssl", 128, "example"]','encryption',1,NULL,NULL,'modern','openssl',128);
INSERT INTO series VALUES(2,'["classic", "openssl", 128, "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["encryption", "classic", "openssl", 128, "example"]','encryption',1,NULL,NULL,'classic','openssl',128);
INSERT INTO series VALUES(3,'["classic", "openssl", 16777216, "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["encryption", "classic", "openssl", 16777216, "example"]','encryption',1,NULL,NULL,'classic','openssl',16777216);
INSERT INTO series VALUES(4,'["race/none/augmented/5x1000000", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "bfa8823d6607fc3d0f8db14d33631861954ced71d4491fcfb8427e6fbda98fdb", "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["sample", "race/none/augmented/5x1000000", "3.11", "example"]','sample',1,1,1,NULL,NULL,NULL);
INSERT INTO series VALUES(5,'["race/shard/5x500000", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "bfa8823d6607fc3d0f8db14d33631861954ced71d4491fcfb8427e6fbda98fdb", "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["sample", "race/shard/5x500000", "3.11", "example"]','sample',1,2,1,NULL,NULL,NULL);
INSERT INTO series VALUES(6,'["ceiling/2x2", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "bfa8823d6607fc3d0f8db14d33631861954ced71d4491fcfb8427e6fbda98fdb", "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["sample", "ceiling/2x2", "3.11", "example"]','sample',1,3,1,NULL,NULL,NULL);
INSERT INTO series VALUES(7,'["ceiling/1x2", "e19b2af230b7b0062c767e0ae55f0ba3f1165ef751981c64290b9d6a317d2a3a", "bfa8823d6607fc3d0f8db14d33631861954ced71d4491fcfb8427e6fbda98fdb", "bd4a676eb2ff36806cb604b9c1e38770ca4a5ec5aa13495890e139d1184a9db5"]','["sample", "ceiling/1x2", "3.11", "example"]','sample',1,4,1,NULL,NULL,NULL);
CREATE TABLE summary (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	series_id INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	n INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	noisy INTEGER NOT NULL, 
	size_bytes BIGINT, 
	least_ns FLOAT, 
	lower_ns FLOAT, 
	median_ns FLOAT, 
	upper_ns FLOAT, 
	greatest_ns FLOAT, 
	mad_ns FLOAT, 
	lost_share FLOAT, 
	covariates JSON NOT NULL, 
	CONSTRAINT pk_summary PRIMARY KEY (id), 
	CONSTRAINT fk_summary_series_id_series FOREIGN KEY(series_id) REFERENCES series (id), 
	CONSTRAINT uq_summary_series_id_run_id UNIQUE (series_id, run_id)
);
INSERT INTO summary VALUES(1,1,1,'2026-11-25 10:20:41.478269',1,0,0,100,8972740.0,8972740.0,8972740.0,8972740.0,8972740.0,0.0,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO summary VALUES(2,2,1,'2026-11-25 10:20:41.563488',2,0,0,200,7419251.0,7813587.2500000000001,8207923.4999999999998,8602259.7499999999999,8996596.0,788672.50000000000001,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO summary VALUES(3,2,2,'2026-11-25 10:20:41.563488',2,0,0,200,9294606.0,9478658.4999999999997,9662711.0,9846763.4999999999996,10030816.0,368105.0,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO summary VALUES(4,3,3,'2026-11-25 10:20:41.647074',0,1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "backend": "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)"}');
INSERT INTO summary VALUES(5,4,4,'2026-11-25 10:20:42.799137',0,0,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO summary VALUES(6,4,5,'2026-11-25 10:20:42.799137',0,0,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO summary VALUES(7,4,6,'2026-11-25 10:20:42.799137',0,0,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
INSERT INTO summary VALUES(8,4,7,'2026-11-25 10:20:42.799137',1,0,1,NULL,160543453.0,160543453.0,160543453.0,160543453.0,160543453.0,0.0,NULL,'{"code": "0.1.0+gefbed49a8c4c", "kernel": "6.1", "host": "bd4a676eb2ff", "interpreter": "3.11.7", "workload": "e19b2af230b7"}');
CREATE TABLE day_summary (
	id INTEGER NOT NULL, 
	series_id INTEGER NOT NULL, 
	day DATE NOT NULL, 
	runs INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	noisy INTEGER NOT NULL, 
	size_bytes BIGINT, 
	lower_ns FLOAT, 
	median_ns FLOAT, 
	upper_ns FLOAT, 
	CONSTRAINT pk_day_summary PRIMARY KEY (id), 
	CONSTRAINT fk_day_summary_series_id_series FOREIGN KEY(series_id) REFERENCES series (id), 
	CONSTRAINT uq_day_summary_series_id_day UNIQUE (series_id, day)
);
CREATE INDEX ix_run_running ON run (host_id) WHERE status = 'running';
CREATE INDEX ix_run_started_at ON run (started_at);
CREATE INDEX ix_encryption_failed ON encryption (started_at) WHERE status IN ('failed', 'unstable');
CREATE INDEX ix_encryption_name_started_at ON encryption (name, started_at);
CREATE INDEX ix_encryption_started_at ON encryption (started_at);
CREATE INDEX ix_encryption_suite_started_at ON encryption (suite, started_at);
CREATE INDEX ix_sample_series ON sample (case_id, interpreter_id, started_at);
CREATE INDEX ix_sample_started_at ON sample (started_at);
CREATE INDEX ix_ledger_run_id ON ledger (run_id);
CREATE INDEX ix_series_track ON series (track);
CREATE INDEX ix_summary_run_id ON summary (run_id);
CREATE INDEX ix_summary_series ON summary (series_id, started_at);
CREATE INDEX ix_day_summary_day ON day_summary (day);
CREATE INDEX ix_run_status_started_at ON run (status, started_at);
CREATE INDEX ix_sample_failed ON sample (started_at) WHERE outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out');
COMMIT;
