OPENQASM 3.0;
include "stdgates.inc";
input float[64] _beta_0_;
input float[64] _gamma_0_;
gate rzz(p0) _gate_q_0, _gate_q_1 {
  cx _gate_q_0, _gate_q_1;
  rz(p0) _gate_q_1;
  cx _gate_q_0, _gate_q_1;
}
gate rxx(p0) _gate_q_0, _gate_q_1 {
  h _gate_q_0;
  h _gate_q_1;
  cx _gate_q_0, _gate_q_1;
  rz(p0) _gate_q_1;
  cx _gate_q_0, _gate_q_1;
  h _gate_q_1;
  h _gate_q_0;
}
gate sxdg _gate_q_0 {
  s _gate_q_0;
  h _gate_q_0;
  s _gate_q_0;
}
gate ryy(p0) _gate_q_0, _gate_q_1 {
  sxdg _gate_q_0;
  sxdg _gate_q_1;
  cx _gate_q_0, _gate_q_1;
  rz(p0) _gate_q_1;
  cx _gate_q_0, _gate_q_1;
  sx _gate_q_0;
  sx _gate_q_1;
}
bit[4] meas;
qubit[4] q;
x q[2];
x q[3];
ry(pi/2) q[1];
cx q[1], q[3];
cx q[1], q[2];
ry(0.6154797086703873) q[1];
cx q[2], q[1];
ry(-0.6154797086703873) q[1];
cx q[1], q[2];
cx q[0], q[2];
ry(1.2630564724597029) q[0];
cx q[1], q[0];
ry(0.30773985433519363) q[0];
cx q[2], q[0];
ry(-0.30773985433519363) q[0];
cx q[1], q[0];
ry(-1.2630564724597029) q[0];
cx q[0], q[2];
cx q[0], q[1];
ry(pi/4) q[0];
cx q[1], q[0];
ry(-pi/4) q[0];
cx q[0], q[1];
rz((-0.875)*_gamma_0_) q[0];
rz((-1.25)*_gamma_0_) q[1];
rz((-1.25)*_gamma_0_) q[2];
rz((-0.875)*_gamma_0_) q[3];
rzz(0.5*_gamma_0_) q[0], q[1];
rzz(0.25*_gamma_0_) q[0], q[2];
rzz(0.125*_gamma_0_) q[0], q[3];
rzz(0.5*_gamma_0_) q[1], q[2];
rzz(0.25*_gamma_0_) q[1], q[3];
rzz(0.5*_gamma_0_) q[2], q[3];
rxx(_beta_0_) q[0], q[1];
ryy(_beta_0_) q[0], q[1];
rxx(_beta_0_) q[2], q[3];
ryy(_beta_0_) q[2], q[3];
rxx(_beta_0_) q[1], q[2];
ryy(_beta_0_) q[1], q[2];
rxx(_beta_0_) q[0], q[3];
ryy(_beta_0_) q[0], q[3];
barrier q[0], q[1], q[2], q[3];
meas[0] = measure q[0];
meas[1] = measure q[1];
meas[2] = measure q[2];
meas[3] = measure q[3];
