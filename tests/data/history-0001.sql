PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0001');
CREATE TABLE host (
	id INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	name VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_host PRIMARY KEY (id), 
	CONSTRAINT uq_host_fingerprint UNIQUE (fingerprint)
);
INSERT INTO host VALUES(1,'0000000000000000000000000000000000000000000000000000000000000001','example','{}');
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
INSERT INTO run VALUES(1,'encrypt_payloads',NULL,1,NULL,'direct',1,'0/0',1,1,'0.1.0+ga2d0a5e2901a','{"random": "100x2", "suites": ["classic", "modern"], "backends": ["auto"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.18.44-fc-v669", "python": "3.11.7", "load_1m": 0.3}','completed',NULL,'2026-11-22 17:10:26.075314','2026-11-22 17:10:26.114958');
INSERT INTO run VALUES(2,'encrypt_payloads',NULL,1,NULL,'direct',1,'0/0',1,1,'0.1.0+ga2d0a5e2901a','{"random": "5120x1", "suites": ["modern"], "backends": ["native"], "jobs": 2, "key": "throw-away"}','{"kernel": "6.18.44-fc-v669", "python": "3.11.7", "load_1m": 0.3}','completed',NULL,'2026-11-22 17:10:27.168292','2026-11-22 17:10:27.178235');
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
INSERT INTO encryption VALUES(1,1,0,'random #1',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'58c7d76edbf9d644',X'c502bb7d0f925b99c03b487fc3098f32daa83e6a7f2677863694d4aae66a5dabc1d5226b3e17e1d72f44f281539d6eb09579159ecf2b77a7cd44c999e7ab7762','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 17:10:26.078318',5968149);
INSERT INTO encryption VALUES(2,1,1,'random #2',NULL,'random',100,120,'classic','des-ede3-cbc','whirlpool','evp-bytestokey-sha256',1,X'561fcda420447a91',X'4863d6ea77bf3e02989fcbf1d5147287bd6bab1fbb232e92f49ddab9e5c32db3d9c08eeef3458494c18ace3ebfb8c84d4e53de00c951b2e290f89e8c2b412de3','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 17:10:26.084304',7445233);
INSERT INTO encryption VALUES(3,1,2,'random #1',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'61b573d1ecd155de',X'1d93e8c36ed116464260b5f9a244a8c2e781f2fc8abe657ecf9da15434721171','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 17:10:26.096744',7955245);
INSERT INTO encryption VALUES(4,1,3,'random #2',NULL,'random',100,116,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'35f175558c961286',X'2a62b2ca681e85401ba072600042a4d1f7c525bc03fd24f7f45fb771c34473b2','openssl','OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026) (/usr/bin/openssl)','openssl can run this suite','ok',NULL,NULL,'2026-11-22 17:10:26.104718',7420368);
INSERT INTO encryption VALUES(5,2,0,'random #1',NULL,'random',5120,5136,'modern','aes-256-ctr','sha256','pbkdf2-hmac-sha256',1,X'6907d53e311f6197',X'8abc7072f8922bfaf0bc9b3ed44b50f1620f4e5c11a578c2b335a519e922e395','native','cryptography 50.0.2 (OpenSSL 4.0.3 29 Sep 2026)','asked for','ok',NULL,NULL,'2026-11-22 17:10:27.172409',730738);
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
INSERT INTO stage VALUES(1,1,0,'openssl enc',0,4649506,4252000);
INSERT INTO stage VALUES(2,1,1,'openssl dgst',0,5245167,5063000);
INSERT INTO stage VALUES(3,2,0,'openssl enc',0,7163112,6240000);
INSERT INTO stage VALUES(4,2,1,'openssl dgst',0,6804130,4035000);
INSERT INTO stage VALUES(5,3,0,'openssl enc',0,6944773,6589000);
INSERT INTO stage VALUES(6,3,1,'openssl dgst',0,7237771,4035000);
INSERT INTO stage VALUES(7,4,0,'openssl enc',0,6640875,6368000);
INSERT INTO stage VALUES(8,4,1,'openssl dgst',0,6792422,4528000);
CREATE INDEX ix_run_running ON run (host_id) WHERE status = 'running';
CREATE INDEX ix_run_started_at ON run (started_at);
CREATE INDEX ix_encryption_failed ON encryption (started_at) WHERE status IN ('failed', 'unstable');
CREATE INDEX ix_encryption_name_started_at ON encryption (name, started_at);
CREATE INDEX ix_encryption_started_at ON encryption (started_at);
CREATE INDEX ix_encryption_suite_started_at ON encryption (suite, started_at);
COMMIT;
