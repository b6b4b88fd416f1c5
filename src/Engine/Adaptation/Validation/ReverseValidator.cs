using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// Circular validation: a classifier is trained on the target's rows with the classes that the model predicts for them, and its accuracy is measured on the source's
/// validation rows, whose labels are known. Predictions that are wrong do not find their way back.
/// </summary>
/// <remarks>
/// Zhong et al., Cross Validation Framework to Choose amongst Models and Datasets for Transfer Learning, ECML 2010; Ganin et al., JMLR 17 (2016), section 5.1.2. They
/// train the reverse model as the first was trained; here it is a <see cref="LinearProbe"/> on the model's features, which costs seconds and not another training.
/// </remarks>
/// <param name="settings">How the reverse classifier is fitted; the defaults if null.</param>
public sealed class ReverseValidator(LinearProbeSettings? settings = null) : Validator
{
    /// <inheritdoc/>
    public override string Name => "circular";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        var features = data.Target.Features;
        var reverse = LinearProbe.Fit(features, Tensor.From(data.TargetPredictions, [features.Shape[0]], features.Device), data.ClassCount, settings, cancellation: cancellation);
        return Accuracy.Of(reverse.Forward(data.SourceValidation.Features), data.SourceValidation.Labels!);
    }
}
