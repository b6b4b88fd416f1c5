namespace TransferEngine.Conformance;

internal sealed class ActivationRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. OperatorRow.Unary("Relu", x => x.Relu(), v => Math.Max(v, 0), Domains.NotAt(0)),
        .. OperatorRow.Unary("LeakyRelu", x => x.LeakyRelu(0.2), v => v > 0 ? v : 0.2 * v, Domains.NotAt(0)),
        .. OperatorRow.Unary("Elu", x => x.Elu(1.5), v => v > 0 ? v : 1.5 * (Math.Exp(v) - 1), Domains.NotAt(0)),
        .. OperatorRow.Unary("Sigmoid", x => x.Sigmoid(), Sigmoid),
        .. OperatorRow.Unary("LogSigmoid", x => x.LogSigmoid(), v => Math.Log(Sigmoid(v))),
        .. OperatorRow.Unary("Tanh", x => x.Tanh(), Math.Tanh),
        .. OperatorRow.Unary("Silu", x => x.Silu(), v => v * Sigmoid(v)),
        .. OperatorRow.Unary("Gelu", x => x.Gelu(), v => v * (1 + Domains.Erf(v / Math.Sqrt(2))) / 2),
        .. OperatorRow.Unary("Gelu", x => x.Gelu(approximate: true), v => v / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v)))),
        .. OperatorRow.Unary("Softplus", x => x.Softplus(2, 3), v => 2 * v > 3 ? v : Math.Log(1 + Math.Exp(2 * v)) / 2, Domains.NotAt(1.5)),
        .. OperatorRow.Unary("Clamp", x => x.Clamp(-1, 0.5), v => Math.Clamp(v, -1, 0.5), Domains.NotAt(-1, 0.5)),
        .. OperatorRow.Unary("HardTanh", x => x.HardTanh(), v => Math.Clamp(v, -1, 1), Domains.NotAt(-1, 1)),
        .. OperatorRow.Unary("Relu6", x => x.Relu6(), v => Math.Clamp(v, 0, 6), row => Domains.NotAt(0, 6)(row) with { Range = (-3, 9) }),
        .. OperatorRow.Unary("HardSigmoid", x => x.HardSigmoid(), v => Math.Clamp(v + 3, 0, 6) / 6, row => Domains.NotAt(-3, 3)(row) with { Range = (-5, 5) }),
        .. OperatorRow.Unary("HardSwish", x => x.HardSwish(), v => v * Math.Clamp(v + 3, 0, 6) / 6, row => Domains.NotAt(-3, 3)(row) with { Range = (-5, 5) }),
    ];

    private static double Sigmoid(double v) => 1 / (1 + Math.Exp(-v));
}
