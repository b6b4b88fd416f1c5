namespace TransferEngine.Conformance;

internal sealed class ArithmeticRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. OperatorRow.Binary("op_Addition", (a, b) => a + b, (a, b) => a + b),
        .. OperatorRow.Unary("op_Addition", x => 3 + (x + 1.5), v => v + 4.5),
        .. OperatorRow.Binary("op_Subtraction", (a, b) => a - b, (a, b) => a - b),
        .. OperatorRow.Unary("op_Subtraction", x => 3 - (x - 1.5), v => 4.5 - v),
        .. OperatorRow.Binary("op_Multiply", (a, b) => a * b, (a, b) => a * b),
        .. OperatorRow.Unary("op_Multiply", x => 3 * (x * 1.5), v => 4.5 * v),
        .. OperatorRow.Binary("op_Division", (a, b) => a / b, (a, b) => a / b, row => row with { Domain = AwayFromZero, Tolerance32 = 1e-5 }),
        .. OperatorRow.Unary("op_Division", x => 3 / (x / 1.5), v => 4.5 / v, row => row with { Domain = AwayFromZero }),
        .. OperatorRow.Unary("op_UnaryNegation", x => -x, v => -v),
    ];

    private static double AwayFromZero(double value, int input) => Math.Abs(value) < 0.3 ? Math.CopySign(0.3, value) + value : value;
}
